//! What an operator may change while the node runs, whoever brings the wish.
//!
//! A wish is carried out at once or refused in a sentence. What is kept on the boot
//! disk is [`Told::pending`] until it is durable, and whoever asked hears of it only
//! then. The one check of settings is the parser's own.

use super::Mgmt;
use crate::Node;
use crate::closing::Order;
use crate::config::{self, Config, HIDDEN, Said, Source};
use crate::keeper::SETTINGS;
use crate::state::SETTINGS_BYTES_MAX;
use alloc::vec::Vec;
use aoe::Mac;
use aoe::limits::{MASKS_MAX, MEMBERS_MAX};
use core::fmt::{self, Write};
use io::{Disk, Nic, Text};

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// An export answers from now on, or is silent.
    Online { slot: u8, online: bool },
    /// The text lists who may see an export beside those whom the settings name.
    Masks(u8),
    /// The text lists who has reserved an export; nobody is free for all.
    Members(u8),
    /// The text is what is saved.
    Save,
    /// The text is one setting that holds from now on, as far as it can.
    Set,
    /// The text is a key that nobody sets here any more.
    Unset,
    /// What was set is saved.
    SaveSet,
    /// What was saved before is saved again.
    SavePrevious,
    /// Frames are captured for so many seconds.
    Capture(u8),
    /// The machine is to stop.
    Stop(Order),
}

/// What became of a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// HTTP's number for it.
    pub status: u16,
    /// A sentence.
    pub words: Text<240>,
    /// What must be durable before anybody hears of it: an export, or the settings.
    pub pending: Option<usize>,
}

impl Told {
    fn done(words: fmt::Arguments<'_>) -> Self {
        Self::new(200, words)
    }

    #[cold]
    #[inline(never)]
    fn new(status: u16, words: fmt::Arguments<'_>) -> Self {
        Self {
            status,
            words: Text::format(words),
            pending: None,
        }
    }
}

impl<N: Nic, D: Disk> Node<N, D> {
    /// Does what is wanted, or says why not.
    #[cold]
    pub(super) fn carry_out(&mut self, management: &mut Mgmt, wish: Wish, text: &[u8]) -> Told {
        let told = match wish {
            Wish::Online { slot, online } => self.switch(slot, online),
            Wish::Masks(slot) => self.admit_only(slot, text),
            Wish::Members(slot) => self.reserve_for(slot, text),
            Wish::Save => self.save(management, text),
            Wish::Set => set(management, text),
            Wish::Unset => unset(management, text),
            Wish::SaveSet => {
                let mut copy = [0; SETTINGS_BYTES_MAX];
                let text = copied(&mut copy, &management.facts.draft);
                self.save(management, text)
            }
            Wish::SavePrevious => {
                let mut copy = [0; SETTINGS_BYTES_MAX];
                let text = copied(&mut copy, self.keeper.previously_saved());
                self.save(management, text)
            }
            Wish::Capture(seconds) => {
                let until = self.now + u64::from(seconds) * 1_000_000;
                self.capture.begin(until);
                Told::done(format_args!("frames are captured for {seconds} s"))
            }
            Wish::Stop(order) => {
                self.order(order);
                Told::new(
                    202,
                    format_args!("{order}: what is under way is finished first"),
                )
            }
        };
        if told.status < 300 {
            log::info!("by order of the operator: {}", told.words);
        }
        told
    }

    #[cold]
    fn switch(&mut self, slot: u8, online: bool) -> Told {
        if !self.set_online(slot, online) {
            return no_such(slot);
        }
        let is_online = |export: &crate::Export| export.planned.slot == slot && export.online;
        let state = match (online, self.exports.iter().any(is_online)) {
            (false, _) => "offline",
            (true, true) => "online",
            (true, false) => "online as soon as it is known that nobody else answers for it",
        };
        let shelf = self.shelf.number();
        Told::done(format_args!(
            "e{shelf}.{slot} is {state}; the next start does what export= says"
        ))
    }

    #[cold]
    fn admit_only(&mut self, slot: u8, text: &[u8]) -> Told {
        let Some(index) = self.with_slot(slot) else {
            return no_such(slot);
        };
        let target = &mut self.exports[index].target;
        let permanent = target.masks().len() - target.edited_masks().len();
        let mut list = [Mac::default(); MASKS_MAX];
        match read_macs(text, &mut list[permanent..]) {
            Ok(macs) => target.replace_masks(macs.iter().copied()),
            Err(wrong) => return wrong.told(),
        }
        let count = target.masks().len();
        match count {
            0 => self.changed_by_operator(index, format_args!("everybody may see it")),
            _ => self.changed_by_operator(index, format_args!("{count} hosts may see it")),
        }
    }

    #[cold]
    fn reserve_for(&mut self, slot: u8, text: &[u8]) -> Told {
        let Some(index) = self.with_slot(slot) else {
            return no_such(slot);
        };
        let mut list = [Mac::default(); MEMBERS_MAX];
        let count = match read_macs(text, &mut list) {
            Ok(macs) => {
                let target = &mut self.exports[index].target;
                target.replace_reservation(macs.iter().copied());
                macs.len()
            }
            Err(wrong) => return wrong.told(),
        };
        match count {
            0 => self.changed_by_operator(index, format_args!("nobody has reserved it")),
            _ => self.changed_by_operator(index, format_args!("{count} hosts have reserved it")),
        }
    }

    fn with_slot(&self, slot: u8) -> Option<usize> {
        let is_it = |export: &crate::Export| export.planned.slot == slot;
        self.exports.iter().position(is_it)
    }

    #[cold]
    fn changed_by_operator(&mut self, index: usize, what: fmt::Arguments<'_>) -> Told {
        self.take_changes(self.now, index);
        let address = self.exports[index].target.address();
        let volatile = if self.keeps_state() { "" } else { NOT_KEPT };
        Told {
            pending: Some(index),
            ..Told::done(format_args!("{address}: {what}{volatile}"))
        }
    }

    #[cold]
    fn save(&mut self, management: &mut Mgmt, text: &[u8]) -> Told {
        if !self.keeps_state() {
            return Told::new(
                409,
                format_args!("no boot disk of ublade: settings can not be saved"),
            );
        }
        if text.len() > SETTINGS_BYTES_MAX {
            return Told::new(
                413,
                format_args!("saved settings have {SETTINGS_BYTES_MAX} bytes at most"),
            );
        }
        if let Some(told) = complaint(&mut management.check, text) {
            return told;
        }
        let effect = management.take_effect(text, Source::Saved);
        management.facts.draft.clear();
        management.facts.draft.extend_from_slice(text);
        self.keeper.save(text);
        Told {
            pending: Some(SETTINGS),
            ..Told::done(format_args!("settings are saved on the boot disk{effect}"))
        }
    }
}

const NOT_KEPT: &str = ", until the next restart: there is no boot disk";

impl Mgmt {
    /// Lets settings that have been checked take effect, as far as they can while
    /// the node runs. Tells what became of each.
    #[cold]
    fn take_effect(&mut self, text: &[u8], source: Source) -> Text<200> {
        let (mut now, mut later, mut overruled) = (Keys::NEW, Keys::NEW, Keys::NEW);
        for (key, value) in config::lines(text) {
            let value = value.unwrap_or("");
            let key_text = Text::new(key);
            let said = &mut self.facts.said;
            let before = said.iter().position(|said| said.key == key_text);
            let is_overruled = before.is_some_and(|at| said[at].source > source);
            if self.facts.holds(key, value) {
                // Who says the same once more makes it last.
                if let Some(at) = before.filter(|_| source == Source::Saved) {
                    let said = &mut self.facts.said[at];
                    if said.source == Source::Live {
                        said.source = source;
                    }
                }
            } else if is_overruled {
                overruled.add(key);
            } else if self.apply(key, value) {
                now.add(key);
                let text = if key == "token" { HIDDEN } else { value };
                let new = Said {
                    key: key_text,
                    text: Text::new(text),
                    source,
                };
                let said = &mut self.facts.said;
                match before {
                    Some(at) => said[at] = new,
                    None if said.len() < said.capacity() => said.push(new),
                    None => {}
                }
            } else {
                later.add(key);
            }
        }
        // What was saved before and is not any more.
        let left_out = self.facts.said.iter().filter(|said| {
            let is_there = config::lines(text).any(|(key, _)| key == said.key.as_str());
            source == Source::Saved && said.source == source && !is_there
        });
        left_out.for_each(|said| later.add(said.key.as_str()));
        let mut effect = Text::EMPTY;
        for (keys, words) in [
            (now, "; in force now: "),
            (later, "; from the next start on: "),
            (overruled, "; overruled by a stronger source: "),
        ] {
            if !keys.0.is_empty() {
                // `Text` cuts and never fails.
                let _ = write!(effect, "{words}{}", keys.0);
            }
        }
        effect
    }

    /// Puts one setting in force; false if only a start can.
    #[cold]
    fn apply(&mut self, key: &str, value: &str) -> bool {
        match key {
            "log" => log::set_max_level(self.check.log.value.into()),
            "hostname" => self.net.set_hostname(value),
            "syslog" => self.net.set_log_server(value),
            "ntp" => self.net.set_time_server(value),
            "token" => self.facts.token = Text::new(value),
            _ => return false,
        }
        true
    }
}

/// Sets one setting, and has it among those that can be saved.
#[cold]
fn set(management: &mut Mgmt, text: &[u8]) -> Told {
    if let Some(told) = complaint(&mut management.check, text) {
        return told;
    }
    let Some((key, _)) = config::lines(text).next() else {
        return Told::new(400, format_args!("a setting is key=value"));
    };
    let mut copy = [0; SETTINGS_BYTES_MAX];
    let before = copied(&mut copy, &management.facts.draft);
    let draft = &mut management.facts.draft;
    without(before, key, draft);
    if draft.len() + text.len() + 1 > SETTINGS_BYTES_MAX {
        draft.clear();
        draft.extend_from_slice(before);
        return Told::new(
            413,
            format_args!("settings have {SETTINGS_BYTES_MAX} bytes at most"),
        );
    }
    draft.extend_from_slice(text);
    draft.push(b'\n');
    let effect = management.take_effect(text, Source::Live);
    Told::done(format_args!("{key} is set{effect}; save keeps it"))
}

/// Takes a key out of what can be saved.
#[cold]
fn unset(management: &mut Mgmt, key: &[u8]) -> Told {
    let key = str::from_utf8(key).unwrap_or("");
    let mut copy = [0; SETTINGS_BYTES_MAX];
    let before = copied(&mut copy, &management.facts.draft);
    without(before, key, &mut management.facts.draft);
    let is_gone = config::lines(before).any(|(other, _)| other == key);
    match is_gone {
        true => Told::done(format_args!(
            "{key} is left to others from the next start on; save keeps it so"
        )),
        false => Told::new(404, format_args!("nobody has set {key} here")),
    }
}

/// `text` in a place of its own. It is no longer than what may be saved.
#[cold]
fn copied<'a>(place: &'a mut [u8; SETTINGS_BYTES_MAX], text: &[u8]) -> &'a [u8] {
    let place = &mut place[..text.len()];
    place.copy_from_slice(text);
    place
}

/// The lines of `text` but those that set `key`, into `draft`, each with its end.
#[cold]
fn without(text: &[u8], key: &str, draft: &mut Vec<u8>) {
    draft.clear();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        if config::lines(line).all(|(other, _)| other != key) {
            draft.extend_from_slice(line);
        }
    }
    let is_open = draft.last().is_some_and(|last| *last != b'\n');
    if is_open && draft.len() < SETTINGS_BYTES_MAX {
        draft.push(b'\n');
    }
}

/// Keys with commas between.
struct Keys(Text<120>);

impl Keys {
    const NEW: Self = Self(Text::EMPTY);

    #[cold]
    #[inline(never)]
    fn add(&mut self, key: &str) {
        let comma = if self.0.is_empty() { "" } else { ", " };
        let _ = write!(self.0, "{comma}{key}");
    }
}

/// Reads settings as a start would, and says what that could not use.
#[cold]
fn complaint(config: &mut Config, text: &[u8]) -> Option<Told> {
    config.clear();
    config.parse(Source::Saved, text);
    let mut wrong = config.problems().iter();
    let first = wrong.next()?;
    Some(match wrong.count() + config.problems_more() as usize {
        0 => Told::new(400, format_args!("{first}")),
        more => Told::new(400, format_args!("{first} (and {more} more)")),
    })
}

/// What is wrong with a list of addresses.
enum Wrong<'a> {
    NotText,
    TooMany(usize),
    Word(&'a str, &'static str),
}

impl Wrong<'_> {
    #[cold]
    fn told(self) -> Told {
        match self {
            Self::NotText => Told::new(400, format_args!("the list is not UTF-8")),
            Self::TooMany(room) => {
                Told::new(400, format_args!("there is room for {room} addresses"))
            }
            Self::Word(word, what) => {
                Told::new(400, format_args!("{}: {what}", Text::<24>::new(word)))
            }
        }
    }
}

/// Reads Ethernet addresses, one or many, as a JSON list or with any space or comma
/// between.
#[cold]
fn read_macs<'a, 'b>(text: &'a [u8], list: &'b mut [Mac]) -> Result<&'b [Mac], Wrong<'a>> {
    let is_between = |byte: &u8| byte.is_ascii_whitespace() || b",[]\"".contains(byte);
    let words = text.split(is_between).filter(|word| !word.is_empty());
    let (mut len, room) = (0, list.len());
    for word in words {
        let place = list.get_mut(len).ok_or(Wrong::TooMany(room))?;
        let word = str::from_utf8(word).map_err(|_| Wrong::NotText)?;
        *place = config::mac(word).map_err(|what| Wrong::Word(word, what))?;
        len += 1;
    }
    Ok(&list[..len])
}

#[cold]
fn no_such(slot: u8) -> Told {
    Told::new(404, format_args!("no export has slot {slot}"))
}
