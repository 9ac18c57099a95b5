//! Disks that this process plays: the server's side of NBD, as QEMU speaks it.
//!
//! What a disk does with a request is a [`Store`]'s business; this is the wire
//! ("fixed newstyle", simple replies), as far as QEMU needs it. A connection's
//! requests reach the store one after another, in the order in which QEMU sent
//! them; only what the store wants to do [later](Answer::Later) is overtaken.

use crate::{Failure, OrFail};
use serde_json::{Value, json};
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
const REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const ANSWER_MAGIC: u32 = 0x6744_6698;
/// Fixed newstyle, no zeroes behind the export's size.
const HANDSHAKE_FLAGS: u16 = 1 | 2;
/// Has flags, has a flush.
const EXPORT_FLAGS: u16 = 1 | 4;
const OPTION_EXPORT_NAME: u32 = 1;
const OPTION_INFO: u32 = 6;
const OPTION_GO: u32 = 7;
const REPLY_ACK: u32 = 1;
const REPLY_INFO: u32 = 3;
const REPLY_UNSUPPORTED: u32 = 0x8000_0001;
const READ: u16 = 0;
const WRITE: u16 = 1;
const DISCONNECT: u16 = 2;
const FLUSH: u16 = 3;
/// "Input/output error".
const EIO: u32 = 5;
/// "Invalid argument", for whatever else is asked.
const EINVAL: u32 = 22;
/// Longest request: QEMU's own limit.
const REQUEST_BYTES_MAX: u32 = 32 << 20;

/// What QEMU asks for.
pub enum Request {
    /// Bytes from `offset` on.
    Read {
        /// The first byte.
        offset: u64,
        /// How many.
        bytes: u32,
    },
    /// `data` shall be there from `offset` on.
    Write {
        /// The first byte.
        offset: u64,
        /// The bytes.
        data: Vec<u8>,
    },
    /// All writes that were answered shall be durable.
    Flush,
}

/// What a store says to it.
pub enum Answer {
    /// Done; what was read, nothing else.
    Done(Vec<u8>),
    /// The disk can not.
    Failed,
    /// That makes no sense.
    Refused,
    /// This will tell; meanwhile other requests are heard.
    Later(Box<dyn FnOnce() -> Self + Send>),
}

/// A disk behind the wire.
pub trait Store: Send + Sync + 'static {
    /// How large it is.
    fn bytes(&self) -> u64;

    /// Runs a request.
    fn run(self: &Arc<Self>, request: Request) -> Answer;

    /// Whether an answer may leave: not when the power is off.
    fn may_answer(&self) -> bool {
        true
    }
}

/// A store at a socket. Dropping it takes the socket away.
pub struct Server {
    socket: PathBuf,
}

impl Server {
    /// Serves `store` at a socket `NAME.nbd` in `folder`.
    pub fn start<S: Store>(folder: &Path, name: &str, store: &Arc<S>) -> Result<Self, Failure> {
        let socket = folder.join(format!("{name}.nbd"));
        let listener = UnixListener::bind(&socket)
            .or_fail(format_args!("cannot listen at {}", socket.display()))?;
        let store = Arc::clone(store);
        thread::spawn(move || {
            // QEMU connects once for each time that the disk is plugged in.
            while let Ok((stream, _)) = listener.accept() {
                let store = Arc::clone(&store);
                // An end in the middle is how a power cut looks.
                thread::spawn(move || converse(&store, stream));
            }
        });
        Ok(Self { socket })
    }

    /// What `-drive` calls it.
    pub fn backing(&self) -> String {
        let path = self.socket.display().to_string().replace(',', ",,");
        format!("driver=nbd,server.type=unix,server.path={path}")
    }

    /// What `blockdev-add` takes to have it under the name `node`.
    pub fn block_node(&self, node: &str) -> Value {
        let server = json!({"type": "unix", "path": self.socket});
        json!({"driver": "nbd", "node-name": node, "server": server})
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The scenario's folder is kept, and a socket in it is of no use.
        let _ = std::fs::remove_file(&self.socket);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn converse<S: Store>(store: &Arc<S>, stream: UnixStream) -> io::Result<()> {
    let mut to = stream.try_clone()?;
    let mut from = Numbers(stream);
    negotiate(store.bytes(), &mut from, &mut to)?;
    let to = Arc::new(Mutex::new(to));
    loop {
        if from.u32()? != REQUEST_MAGIC {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let (_flags, kind) = (from.u16()?, from.u16()?);
        let (handle, offset, bytes) = (from.u64()?, from.u64()?, from.u32()?);
        let answer = match kind {
            READ => store.run(Request::Read { offset, bytes }),
            WRITE => {
                let data = from.data(bytes)?;
                store.run(Request::Write { offset, data })
            }
            FLUSH => store.run(Request::Flush),
            DISCONNECT => return Ok(()),
            _ => Answer::Refused,
        };
        if let Answer::Later(rest) = answer {
            let (store, to) = (Arc::clone(store), Arc::clone(&to));
            thread::spawn(move || say(&store, &to, handle, rest()));
        } else {
            say(store, &to, handle, answer)?;
        }
    }
}

fn negotiate(size: u64, from: &mut Numbers<UnixStream>, to: &mut UnixStream) -> io::Result<()> {
    to.write_all(b"NBDMAGIC")?;
    to.write_all(&OPTION_MAGIC.to_be_bytes())?;
    to.write_all(&HANDSHAKE_FLAGS.to_be_bytes())?;
    from.u32()?;
    loop {
        if from.u64()? != OPTION_MAGIC {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let option = from.u32()?;
        let bytes = from.u32()?;
        from.data(bytes)?;
        let mut reply = |kind: u32, data: &[u8]| {
            let mut reply = REPLY_MAGIC.to_be_bytes().to_vec();
            reply.extend(option.to_be_bytes());
            reply.extend(kind.to_be_bytes());
            reply.extend((data.len() as u32).to_be_bytes());
            reply.extend(data);
            to.write_all(&reply)
        };
        match option {
            OPTION_INFO | OPTION_GO => {
                // Kind 0: the export's size and flags.
                let mut info = vec![0, 0];
                info.extend(size.to_be_bytes());
                info.extend(EXPORT_FLAGS.to_be_bytes());
                reply(REPLY_INFO, &info)?;
                reply(REPLY_ACK, &[])?;
                if option == OPTION_GO {
                    return Ok(());
                }
            }
            OPTION_EXPORT_NAME => {
                to.write_all(&size.to_be_bytes())?;
                return to.write_all(&EXPORT_FLAGS.to_be_bytes());
            }
            _ => reply(REPLY_UNSUPPORTED, &[])?,
        }
    }
}

fn say<S: Store>(
    store: &Arc<S>,
    to: &Mutex<UnixStream>,
    handle: u64,
    answer: Answer,
) -> io::Result<()> {
    let (error, data) = match answer {
        Answer::Done(data) => (0, data),
        Answer::Failed => (EIO, Vec::new()),
        Answer::Refused => (EINVAL, Vec::new()),
        Answer::Later(rest) => return say(store, to, handle, rest()),
    };
    if !store.may_answer() {
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    let mut answer = ANSWER_MAGIC.to_be_bytes().to_vec();
    answer.extend(error.to_be_bytes());
    answer.extend(handle.to_be_bytes());
    answer.extend(data);
    lock(to).write_all(&answer)
}

/// Reads numbers as NBD writes them.
struct Numbers<R>(R);

impl<R: Read> Numbers<R> {
    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn u16(&mut self) -> io::Result<u16> {
        self.bytes().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> io::Result<u32> {
        self.bytes().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> io::Result<u64> {
        self.bytes().map(u64::from_be_bytes)
    }

    fn data(&mut self, bytes: u32) -> io::Result<Vec<u8>> {
        if bytes > REQUEST_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut data = vec![0; bytes as usize];
        self.0.read_exact(&mut data)?;
        Ok(data)
    }
}
