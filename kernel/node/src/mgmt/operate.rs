//! What an operator may change while the node runs, whoever brings the wish.
//!
//! A wish is carried out at once or refused in a sentence. What is kept on the boot
//! disk is [`Told::pending`] until it is durable, and whoever asked hears of it only
//! then. The one check of settings is the parser's own.

use super::Mgmt;
use crate::Node;
use crate::closing::Order;
use crate::config::{self, Complaint, Config, HIDDEN, Said, Source};
use crate::keeper::SETTINGS;
use crate::state::SETTINGS_BYTES_MAX;
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
            Wish::SavePrevious => self.save_previous(management),
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
        let state = if online { "online" } else { "offline" };
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
        let effect = management.take_effect(text);
        self.keeper.save(text);
        Told {
            pending: Some(SETTINGS),
            ..Told::done(format_args!("settings are saved{effect}"))
        }
    }

    #[cold]
    fn save_previous(&mut self, management: &mut Mgmt) -> Told {
        // What is saved now is in force, or will be, and was checked.
        let mut text = [0; SETTINGS_BYTES_MAX];
        let previous = self.keeper.previously_saved();
        let text = &mut text[..previous.len()];
        text.copy_from_slice(previous);
        self.save(management, text)
    }
}

const NOT_KEPT: &str = ", until the next restart: there is no boot disk";

impl Mgmt {
    /// Lets settings that have been checked take effect, as far as they can while
    /// the node runs. Tells what became of each.
    #[cold]
    fn take_effect(&mut self, text: &[u8]) -> Text<200> {
        let (mut now, mut later, mut overruled) = (Keys::NEW, Keys::NEW, Keys::NEW);
        for (key, value) in config::lines(text) {
            let value = value.unwrap_or("");
            let (key_text, shown) = (Text::new(key), Text::new(value));
            let said = self.facts.said.iter().find(|said| said.key == key_text);
            let said = said.copied();
            match said {
                Some(said) if said.source > Source::Saved => overruled.add(key),
                Some(said) if said.text == shown && key != "token" => {}
                _ if self.apply(key, value) => {
                    now.add(key);
                    self.facts.said.retain(|said| said.key != key_text);
                    if self.facts.said.len() < self.facts.said.capacity() {
                        let text = if key == "token" {
                            Text::new(HIDDEN)
                        } else {
                            shown
                        };
                        self.facts.said.push(Said {
                            key: key_text,
                            text,
                            source: Source::Saved,
                        });
                    }
                }
                _ => later.add(key),
            }
        }
        for said in &self.facts.said {
            let is_there = config::lines(text).any(|(key, _)| key == said.key.as_str());
            if said.source == Source::Saved && !is_there {
                later.add(said.key.as_str());
            }
        }
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
            "token" => {
                self.facts.has_token = !value.is_empty();
                match &mut self.http {
                    Some(http) => http.token = Text::new(value),
                    None => return false,
                }
            }
            _ => return false,
        }
        true
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

/// Reads settings as a start would, and says what that could not use. A word about
/// what is not supported yet is no reason to refuse them.
#[cold]
fn complaint(config: &mut Config, text: &[u8]) -> Option<Told> {
    config.clear();
    config.parse(Source::Saved, text);
    let is_wrong = |problem: &&config::Problem| !matches!(problem.complaint, Complaint::NotYet(_));
    let mut wrong = config.problems().iter().filter(is_wrong);
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
    let text = str::from_utf8(text).map_err(|_| Wrong::NotText)?;
    let is_between = |letter: char| letter.is_ascii_whitespace() || ",[]\"".contains(letter);
    let words = text.split(is_between).filter(|word| !word.is_empty());
    let (mut len, room) = (0, list.len());
    for word in words {
        let place = list.get_mut(len).ok_or(Wrong::TooMany(room))?;
        *place = config::mac(word).map_err(|what| Wrong::Word(word, what))?;
        len += 1;
    }
    Ok(&list[..len])
}

#[cold]
fn no_such(slot: u8) -> Told {
    Told::new(404, format_args!("no export has slot {slot}"))
}
