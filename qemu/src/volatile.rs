//! A disk whose cache a power cut empties: a server for QEMU's NBD client.
//!
//! A real host's page cache survives the death of QEMU, so killing it loses
//! nothing. This disk keeps what is written in a cache of its own until a flush
//! that began later has ended; a flush takes some milliseconds, so that an answer
//! that does not wait for it is seen. Everything goes into a [`Journal`], in one
//! order with what the scenario sees on the wire.
//!
//! Of NBD ("fixed newstyle", simple replies) it speaks what QEMU needs.

use crate::journal::{Entry, digests};
use crate::pattern::SECTOR_BYTES;
use crate::{Failure, OrFail};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

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
/// "Invalid argument", for whatever else is asked.
const EINVAL: u32 = 22;
/// Longest request: QEMU's own limit.
const REQUEST_BYTES_MAX: u32 = 32 << 20;
/// A flush takes this long, and its number's share more.
const FLUSH_TAKES: Duration = Duration::from_millis(3);
const FLUSH_VARIES_MS: u64 = 9;

/// What happened, in order, shared between disk and wire.
#[derive(Clone, Default)]
pub struct Journal(Arc<Mutex<Vec<Entry>>>);

impl Journal {
    /// Adds an entry.
    pub fn add(&self, entry: Entry) {
        lock(&self.0).push(entry);
    }

    /// Everything so far.
    pub fn entries(&self) -> Vec<Entry> {
        lock(&self.0).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sectors in the cache, each version with its number.
type Versions = BTreeMap<u64, Vec<(u64, Vec<u8>)>>;

struct State {
    durable: Vec<u8>,
    cached: Versions,
    /// Counts writes and flushes.
    clock: u64,
    /// The power is off: nothing is heard or answered.
    is_off: bool,
}

struct Shared {
    state: Mutex<State>,
    journal: Journal,
}

/// The disk.
pub struct VolatileDisk {
    shared: Arc<Shared>,
    socket: PathBuf,
}

impl VolatileDisk {
    /// A disk that holds `content`, at a socket in `folder`.
    pub fn serve(
        folder: &Path,
        name: &str,
        content: Vec<u8>,
        journal: &Journal,
    ) -> Result<Self, Failure> {
        let socket = folder.join(format!("{name}.nbd"));
        let listener = UnixListener::bind(&socket)
            .or_fail(format_args!("cannot listen at {}", socket.display()))?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                durable: content,
                cached: Versions::new(),
                clock: 0,
                is_off: false,
            }),
            journal: journal.clone(),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            // QEMU connects once for a machine.
            while let Ok((stream, _)) = listener.accept() {
                let shared = Arc::clone(&serving);
                // An end in the middle is how a power cut looks.
                thread::spawn(move || shared.converse(stream));
            }
        });
        Ok(Self { shared, socket })
    }

    /// What `-drive` calls it.
    pub fn backing(&self) -> String {
        let path = self.socket.display().to_string().replace(',', ",,");
        format!("driver=nbd,server.type=unix,server.path={path}")
    }

    /// A handle that cuts the power.
    pub fn switch(&self) -> PowerSwitch {
        PowerSwitch(Arc::clone(&self.shared))
    }

    /// What is left after the cut: of each sector what is durable, or any version
    /// in the cache, as `choose` (a number below its argument) says.
    pub fn left(&self, mut choose: impl FnMut(usize) -> usize) -> Vec<u8> {
        let state = lock(&self.shared.state);
        let mut content = state.durable.clone();
        for (lba, versions) in &state.cached {
            if let Some(index) = choose(versions.len() + 1).checked_sub(1) {
                let at = *lba as usize * SECTOR_BYTES;
                content[at..at + SECTOR_BYTES].copy_from_slice(&versions[index].1);
            }
        }
        content
    }
}

/// Cuts the power of a disk.
#[derive(Clone)]
pub struct PowerSwitch(Arc<Shared>);

impl PowerSwitch {
    /// Nothing is heard or answered from now on.
    pub fn cut(&self) {
        lock(&self.0.state).is_off = true;
    }
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

impl Shared {
    fn converse(self: Arc<Self>, stream: UnixStream) -> io::Result<()> {
        let mut from = Numbers(stream.try_clone()?);
        let mut to = stream;
        self.negotiate(&mut from, &mut to)?;
        let to = Arc::new(Mutex::new(to));
        loop {
            if from.u32()? != REQUEST_MAGIC {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let (_flags, kind) = (from.u16()?, from.u16()?);
            let (handle, offset, bytes) = (from.u64()?, from.u64()?, from.u32()?);
            let data = if kind == WRITE {
                from.data(bytes)?
            } else {
                Vec::new()
            };
            match kind {
                DISCONNECT => return Ok(()),
                FLUSH => {
                    let (shared, to) = (Arc::clone(&self), Arc::clone(&to));
                    let flush = self.begin_flush();
                    thread::spawn(move || {
                        let more = Duration::from_millis(flush % FLUSH_VARIES_MS);
                        thread::sleep(FLUSH_TAKES + more);
                        shared.end_flush(flush);
                        shared.answer(&to, handle, 0, &[])
                    });
                }
                READ | WRITE => {
                    let done = if kind == READ {
                        self.read(offset, bytes)
                    } else {
                        self.write(offset, &data)
                    };
                    match done {
                        Some(data) => self.answer(&to, handle, 0, &data)?,
                        None => self.answer(&to, handle, EINVAL, &[])?,
                    }
                }
                _ => self.answer(&to, handle, EINVAL, &[])?,
            }
        }
    }

    fn negotiate(&self, from: &mut Numbers<UnixStream>, to: &mut UnixStream) -> io::Result<()> {
        let size = lock(&self.state).durable.len() as u64;
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

    fn answer(
        &self,
        to: &Mutex<UnixStream>,
        handle: u64,
        error: u32,
        data: &[u8],
    ) -> io::Result<()> {
        if lock(&self.state).is_off {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let mut answer = ANSWER_MAGIC.to_be_bytes().to_vec();
        answer.extend(error.to_be_bytes());
        answer.extend(handle.to_be_bytes());
        answer.extend(data);
        lock(to).write_all(&answer)
    }

    fn read(&self, offset: u64, bytes: u32) -> Option<Vec<u8>> {
        let state = lock(&self.state);
        let from = usize::try_from(offset).ok()?;
        let to = from.checked_add(bytes as usize)?;
        let mut data = state.durable.get(from..to)?.to_vec();
        let first = offset / SECTOR_BYTES as u64;
        let end = to.div_ceil(SECTOR_BYTES) as u64;
        for (lba, versions) in state.cached.range(first..end) {
            let (_, newest) = versions.last().expect("an entry has a version");
            let at = *lba as usize * SECTOR_BYTES;
            // A read need not begin or end with a sector.
            for (index, byte) in newest.iter().enumerate() {
                if let Some(place) = (at + index).checked_sub(from).and_then(|i| data.get_mut(i)) {
                    *place = *byte;
                }
            }
        }
        Some(data)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Option<Vec<u8>> {
        let mut state = lock(&self.state);
        let sector = SECTOR_BYTES as u64;
        let end = offset.checked_add(data.len() as u64)?;
        let is_whole = offset.is_multiple_of(sector) && data.len().is_multiple_of(SECTOR_BYTES);
        if !is_whole || end > state.durable.len() as u64 || state.is_off {
            return None;
        }
        let lba = offset / sector;
        for (lba, bytes) in (lba..).zip(data.chunks(SECTOR_BYTES)) {
            state.clock += 1;
            let version = (state.clock, bytes.to_vec());
            state.cached.entry(lba).or_default().push(version);
        }
        self.journal.add(Entry::Stored {
            lba,
            sectors: digests(data),
        });
        Some(Vec::new())
    }

    fn begin_flush(&self) -> u64 {
        let mut state = lock(&self.state);
        state.clock += 1;
        self.journal.add(Entry::FlushBegun(state.clock));
        state.clock
    }

    fn end_flush(&self, flush: u64) {
        let mut state = lock(&self.state);
        if state.is_off {
            return;
        }
        let State {
            durable, cached, ..
        } = &mut *state;
        cached.retain(|&lba, versions| {
            let covered = versions.iter().take_while(|(at, _)| *at < flush).count();
            if let Some((_, bytes)) = versions.drain(..covered).next_back() {
                let at = lba as usize * SECTOR_BYTES;
                durable[at..at + SECTOR_BYTES].copy_from_slice(&bytes);
            }
            !versions.is_empty()
        });
        self.journal.add(Entry::FlushDone(flush));
    }
}

impl Drop for VolatileDisk {
    fn drop(&mut self) {
        self.switch().cut();
        // The scenario's folder is kept, and a socket in it is of no use.
        let _ = std::fs::remove_file(&self.socket);
    }
}
