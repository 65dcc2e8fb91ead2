#!/usr/bin/env python3
"""Sends a file of any size in pieces, continues after a cut, then starts the update or the restore.

    resumable_upload.py https://box:8443 update package.enc <token
    resumable_upload.py https://box:8443 restore backup.tar <token

The token comes on standard input. Each request is signed (RFC 9421) and can be used once. A line that breaks costs one
piece. Stopped and started again, it continues where it was; FILE.upload says where that is.
"""
import base64, hashlib, hmac, http.client, json, os, secrets, ssl, sys, time
from urllib.parse import urlencode, urlsplit

box, purpose, path = urlsplit(sys.argv[1]), sys.argv[2], sys.argv[3]
key = hashlib.sha256(sys.stdin.readline().rstrip('\r\n').encode()).hexdigest().encode()
context = ssl.create_default_context(cafile=os.environ.get('CACERT'))
connection = http.client.HTTPSConnection(box.hostname, box.port, context=context, timeout=3600)
# The first piece, and how long a piece may take: that is what a line that breaks costs.
SMALLEST, SECONDS = 1 << 20, 10
# The least that a web server in front must accept.
LEAST = 64 << 10
API, FORM, PIECE = '/api/v1/admin', 'application/x-www-form-urlencoded', 'application/partial-upload'
b64 = lambda data: base64.b64encode(data).decode()


def ask(method, target, kind, body=b'', **headers):
    """The status, the headers and the JSON of the answer, or its text; status 0 if there was none."""
    digest = f'sha-256=:{b64(hashlib.sha256(body).digest())}:'
    params = f'("@method" "@path" "@query" "content-type" "content-digest");created={int(time.time())};nonce="{secrets.token_hex(16)}"'
    base = f'"@method": {method}\n"@path": {target}\n"@query": ?\n"content-type": {kind}\n"content-digest": {digest}\n"@signature-params": {params}'
    tag = b64(hmac.new(key, base.encode(), 'sha256').digest())
    headers = {name.replace('_', '-'): value for name, value in headers.items()}
    headers |= {'Content-Type': kind, 'Content-Digest': digest, 'Signature-Input': f'sig={params}', 'Signature': f'sig=:{tag}:'}
    try:
        connection.request(method, target, body, headers)
        answer = connection.getresponse()
        text = answer.read()
        # A web server in front sends pages of its own.
        is_json = answer.headers.get_content_type() == 'application/json'
        return answer.status, answer.headers, json.loads(text) if text and is_json else text.decode(errors='replace')
    except (OSError, http.client.HTTPException) as error:
        print(f'\n{error}', file=sys.stderr)
        connection.close()
        return 0, {}, {}


def open_upload(file, length):
    form = {'for': purpose, 'length': length, 'sha256': hashlib.file_digest(file, 'sha256').hexdigest()}
    status, _, answer = ask('POST', f'{API}/uploads', FORM, urlencode(form).encode())
    if status != 201:
        sys.exit(f'The upload was refused: {answer}')
    return answer['Location']


def send(file, length, upload):
    wait, size, limit = 1, SMALLEST, 1 << 60
    while True:
        status, headers, answer = ask('HEAD', upload, PIECE)
        if status == 404:
            os.remove(f'{path}.upload')
            sys.exit('The upload is gone: start again')
        if status == 204:
            if headers['Upload-Complete'] == '?1':
                return
            offset = int(headers['Upload-Offset'])
            most = int(headers['Upload-Limit'].split('max-append-size=')[1].split(',')[0])
            file.seek(offset)
            # Until something goes wrong, the answer to a piece tells where the next one begins.
            while status == 204 and headers.get('Upload-Complete') != '?1':
                piece = file.read(min(size, most, limit))
                is_last = offset + len(piece) == length
                began = time.monotonic()
                status, headers, answer = ask('PATCH', upload, PIECE, piece, Upload_Offset=str(offset), Upload_Complete='?1' if is_last else '?0')
                if status == 204:
                    offset += len(piece)
                    size = max(SMALLEST, int(len(piece) / (time.monotonic() - began) * SECONDS))
                    print(f'\r{offset} of {length} bytes', end='', file=sys.stderr)
                elif status == 413:
                    # A web server in front takes less than the appliance.
                    limit = len(piece) // 2
            if status == 413 and limit >= LEAST:
                continue
            wait = 1 if status == 204 else wait
        if status not in (0, 204, 408, 409, 429) and status < 500:
            sys.exit(f'The piece was refused: {answer}')
        if status != 204:
            # Over a bad line, a short piece arrives more easily.
            size = SMALLEST
            time.sleep(wait)
            wait = min(60, 2 * wait)


with open(path, 'rb') as file:
    length = os.path.getsize(path)
    try:
        with open(f'{path}.upload') as state:
            upload = state.read().strip()
    except FileNotFoundError:
        upload = open_upload(file, length)
        with open(f'{path}.upload', 'w') as state:
            state.write(upload)
    send(file, length, upload)
os.remove(f'{path}.upload')
target = f'{API}/update' if purpose == 'update' else f'{API}/backup/restore'
status, _, answer = ask('POST', target, FORM, urlencode({'upload': upload.rsplit('/', 1)[1]}).encode())
print(json.dumps(answer))
sys.exit(not 200 <= status < 400)
