//! The way to root where sudo cannot work. The web server's side is confined by systemd and cannot gain privileges, so
//! root listens on a socket and starts `wrapper.sh` for the processes that are allowed to connect.
//!
//! A request is one message: the words for `wrapper.sh`, and the job's three descriptors, of which the first is its
//! lock. The response is one byte, the exit status. Nothing else is received, and here too the environment is built
//! from scratch. `wrapper.sh` checks the words, as it does before sudo.

use crate::appliance::Appliance;
use crate::jobs::job;
use crate::root::commands::Arguments;
use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Maximum bytes of the words; the longest ones in `wrapper.sh` have 16.
const MAX_WORDS: usize = 64;

/// Time limit for the message after a connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// Requests a job with our own standard descriptors, and waits until it ends. Arguments: the socket, the words. Exits
/// with the job's status.
pub fn ask(arguments: Arguments<'_>, _: &Appliance) -> Result<ExitCode, String> {
    let (Some(socket), Some(words)) = (arguments.next(), arguments.next()) else {
        return Err("the socket and the words are missing".to_owned());
    };
    send(Path::new(&socket), &words.to_string_lossy()).map(ExitCode::from).map_err(|error| error.to_string())
}

fn send(socket: &Path, words: &str) -> io::Result<u8> {
    let mut connection = UnixStream::connect(socket)?;
    let message = format!("{words}\n");
    let (input, output, errors) = (io::stdin(), io::stdout(), io::stderr());
    let standard = [input.as_fd(), output.as_fd(), errors.as_fd()];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(3))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    rights.push(SendAncillaryMessage::ScmRights(&standard));
    let sent = sendmsg(&connection, &[IoSlice::new(message.as_bytes())], &mut rights, SendFlags::NOSIGNAL)?;
    if sent != message.len() {
        return Err(io::Error::other("the request was sent only in part"));
    }
    let mut status = [0];
    match connection.read(&mut status)? {
        0 => Err(io::Error::other("the connection closed without a response")),
        _ => Ok(status[0]),
    }
}

/// Serves one request on the connection that is our standard input.
pub fn answer(_: Arguments<'_>, appliance: &Appliance) -> Result<ExitCode, String> {
    serve(appliance).map(ExitCode::from).map_err(|error| error.to_string())
}

fn serve(appliance: &Appliance) -> io::Result<u8> {
    let mut connection = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let words = receive(&connection)?;
    // This includes the connection: a job that has it would delay the requester's response.
    job::close_on_exec_above_two();
    let status = job::run_as_asked(appliance, &words)?;
    // The requester may be gone: it does not wait for a background job.
    let _ = connection.write_all(&[status]);
    Ok(0)
}

/// Receives the words of the request; its descriptors become our standard ones.
fn receive(connection: &UnixStream) -> io::Result<String> {
    connection.set_read_timeout(Some(PATIENCE))?;
    let mut bytes = [0; MAX_WORDS];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(3))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    let message = recvmsg(connection, &mut [IoSliceMut::new(&mut bytes)], &mut rights, RecvFlags::CMSG_CLOEXEC)?;
    let n = message.bytes;
    let mut descriptors: Vec<OwnedFd> = Vec::new();
    for part in rights.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = part {
            descriptors.extend(received);
        }
    }
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b' ';
    let words = bytes[..n].strip_suffix(b"\n").filter(|words| !words.is_empty() && words.iter().all(is_word));
    // There is no room for more than three descriptors.
    let is_whole = !message.flags.contains(ReturnFlags::CTRUNC);
    let (Some(words), [input, output, errors], true) = (words, descriptors.as_slice(), is_whole) else {
        return Err(io::Error::other("this is not a request for a job"));
    };
    dup2_stdin(input)?;
    dup2_stdout(output)?;
    dup2_stderr(errors)?;
    Ok(String::from_utf8_lossy(words).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_job_has_the_status_that_root_sends_and_without_one_it_failed() {
        let socket = std::env::temp_dir().join(format!("gate-{}", std::process::id()));
        let listener = UnixListener::bind(&socket).unwrap();
        for status in [&[0][..], &[7], &[]] {
            let asked = std::thread::scope(|scope| {
                scope.spawn(|| {
                    let (mut connection, _) = listener.accept().unwrap();
                    let mut words = [0; MAX_WORDS];
                    let n = connection.read(&mut words).unwrap();
                    assert_eq!(&words[..n], b"backup START\n");
                    connection.write_all(status).unwrap();
                });
                send(&socket, "backup START")
            });
            assert_eq!(asked.ok(), status.first().copied());
        }
        std::fs::remove_file(socket).unwrap();
    }
}
