#!/usr/bin/env python3
"""Uploads a file of any size with a signature that nobody can replay (RFC 9421), without holding it in memory.

    signed_upload.py https://box:8443/api/v1/admin/update update package.enc <token

The token comes on standard input. The signature covers the file by its digest, in Part-Digest.
"""
import base64, hashlib, hmac, http.client, os, secrets, ssl, sys, time
from urllib.parse import urlsplit

url, field, path = urlsplit(sys.argv[1]), sys.argv[2], sys.argv[3]
key = hashlib.sha256(sys.stdin.readline().rstrip('\r\n').encode()).hexdigest().encode()
b64 = lambda data: base64.b64encode(data).decode()
with open(path, 'rb') as file:
    digest = f'{field}=:{b64(hashlib.file_digest(file, "sha256").digest())}:'
boundary = secrets.token_hex(16)
kind = f'multipart/form-data; boundary={boundary}'
params = f'("@method" "@path" "@query" "content-type" "part-digest");created={int(time.time())};nonce="{secrets.token_hex(16)}"'
base = f'"@method": POST\n"@path": {url.path}\n"@query": ?{url.query}\n"content-type": {kind}\n"part-digest": {digest}\n"@signature-params": {params}'
tag = b64(hmac.new(key, base.encode(), 'sha256').digest())
head = f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="file"\r\n\r\n'.encode()
tail = f'\r\n--{boundary}--\r\n'.encode()


def body():
    with open(path, 'rb') as file:
        yield head
        while piece := file.read(1 << 16):
            yield piece
        yield tail


context = ssl.create_default_context(cafile=os.environ.get('CACERT'))
connection = http.client.HTTPSConnection(url.hostname, url.port, context=context)
connection.request('POST', url.path + (f'?{url.query}' if url.query else ''), body(), {
    'Content-Type': kind, 'Part-Digest': digest,
    'Content-Length': str(len(head) + os.path.getsize(path) + len(tail)),
    'Signature-Input': f'sig={params}', 'Signature': f'sig=:{tag}:'})
answer = connection.getresponse()
print(answer.read().decode())
sys.exit(answer.status >= 400)
