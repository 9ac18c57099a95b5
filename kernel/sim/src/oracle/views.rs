//! What hosts have set of an export, and what a crash may leave of it.
//!
//! A config string, a mask list and a reservation take effect at one moment, are
//! answered at a later one and must be there after a power cut from then on. The
//! oracle knows every request that may change them and works out by itself what
//! they may become; after every turn it looks which of that is in force. What is
//! in force and nobody could have brought about is a finding.
//!
//! The moments are kept in order. An answer that tells of one makes it the floor:
//! nothing older may come back, whatever crashes. A node that has no place for its
//! state starts from its settings; one whose boot disk failed it (which it says)
//! promises what it had kept until then.

use super::{Asked, Served};
use crate::wire::{self, Header, Mac};
use std::rc::Rc;

/// An announcement that was built before a change may leave after it, this late.
const ANNOUNCED_LATE_US: u64 = 5_000;
/// What is no longer in force is remembered this long, for answers that were
/// built before: longer than any boot disk may keep one back.
const REMEMBERED_US: u64 = 5_000_000;
/// So many outcomes of requests under way are worked out; more are believed.
const OUTCOMES_MAX: usize = 512;

/// What hosts have set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The config string.
    pub string: Vec<u8>,
    /// The mask list, sorted.
    pub masks: Vec<Mac>,
    /// Who has reserved it.
    pub reserved: Vec<Mac>,
}

impl View {
    /// What the settings alone say.
    pub fn of(served: &Served) -> Self {
        let mut view = Self {
            masks: served.masks.clone(),
            ..Self::default()
        };
        view.masks.sort_unstable();
        view
    }

    pub(super) fn shuts_out(&self, mac: Mac) -> bool {
        !self.masks.is_empty() && !self.masks.contains(&mac)
    }

    pub(super) fn is_reserved_for(&self, mac: Mac) -> bool {
        self.reserved.is_empty() || self.reserved.contains(&mac)
    }
}

/// A request that asks for or changes what is set, as it came in.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub header: Header,
    pub argument: Vec<u8>,
    /// The smallest frames that its port has carried since the node started.
    pub mtu_low: u16,
}

impl Request {
    /// As the oracle remembers it.
    pub fn of(asked: &Asked, mtu_low: u16) -> Self {
        Self {
            header: asked.header,
            argument: asked.argument.clone(),
            mtu_low,
        }
    }

    /// Whether it may change something.
    pub fn is_set(&self) -> bool {
        let is_wild = self.header.address.is_wild();
        match self.header.command {
            _ if self.header.version != 1 => false,
            wire::CONFIG => self.argument.len() >= 8 && matches!(self.argument[5] & 15, 3 | 4),
            wire::MASK => self.argument.get(1) == Some(&1) && !is_wild,
            wire::RESERVE => matches!(self.argument.first(), Some(1 | 2)) && !is_wild,
            _ => false,
        }
    }
}

/// Something that was in force, or may have been, from a moment on.
struct Moment {
    view: Rc<View>,
    from: u64,
    from_us: u64,
}

/// A request that may change something and whose end nobody has seen.
struct Pending {
    id: u64,
    request: Rc<Request>,
    is_over: bool,
}

/// See the module's header.
pub(super) struct Views {
    /// In order; the last one is in force.
    moments: Vec<Moment>,
    /// What lies before this moment can not come back.
    floor: usize,
    /// What else a crash may bring back: the node has not told of its state yet.
    older: Vec<Rc<View>>,
    pending: Vec<Pending>,
    /// The moment and the promises when the oracle looked last.
    looked: usize,
    looked_floor: usize,
    looked_older: Vec<Rc<View>>,
    /// What the node had kept when its boot disk failed it.
    frozen: Option<Vec<Rc<View>>>,
    /// Something came or left since the last look.
    is_touched: bool,
}

impl Views {
    pub fn new(view: View) -> Self {
        let view = Rc::new(view);
        Self {
            moments: vec![Moment {
                view: view.clone(),
                from: 0,
                from_us: 0,
            }],
            floor: 0,
            older: vec![view],
            pending: Vec::new(),
            looked: 0,
            looked_floor: 0,
            looked_older: Vec::new(),
            frozen: None,
            is_touched: false,
        }
    }

    /// What is in force, as far as anybody has looked.
    pub fn in_force(&self) -> &Rc<View> {
        &self.moments.last().expect("there is always one").view
    }

    /// A request that may change something was taken off a ring.
    pub fn pend(&mut self, id: u64, request: Request) {
        self.is_touched = true;
        self.pending.push(Pending {
            id,
            request: Rc::new(request),
            is_over: false,
        });
    }

    /// It is over: it was answered, or its frame went back.
    pub fn end(&mut self, id: u64) {
        for pending in self.pending.iter_mut().filter(|pending| pending.id == id) {
            pending.is_over = true;
            self.is_touched = true;
        }
    }

    /// Whether a request that may change something is under way.
    pub fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    fn window(&self, since: u64) -> usize {
        let before = self.moments.iter().rposition(|moment| moment.from <= since);
        before.unwrap_or(0)
    }

    /// What may have been in force at any moment since `since`: what was, in order,
    /// and behind it what requests under way may have made of it. `apply` says what
    /// a request makes of something.
    pub fn possible(&self, since: u64, apply: impl Fn(&Request, &View) -> View) -> Vec<Rc<View>> {
        let from = self.window(since).min(self.looked);
        let mut all: Vec<Rc<View>> = Vec::new();
        for moment in &self.moments[from..] {
            if !all.contains(&moment.view) {
                all.push(moment.view.clone());
            }
        }
        let mut at = 0;
        while at < all.len() && all.len() < OUTCOMES_MAX {
            for pending in &self.pending {
                let next = apply(&pending.request, &all[at]);
                if all.iter().all(|other| **other != next) {
                    all.push(Rc::new(next));
                }
            }
            at += 1;
        }
        all
    }

    /// Whether only one thing is possible now.
    pub fn is_certain(&self) -> bool {
        self.pending.is_empty() && self.looked + 1 == self.moments.len()
    }

    /// An answer to something asked at `since` told of `view`: what is older does
    /// not come back.
    pub fn told(&mut self, since: u64, view: &Rc<View>, now: u64, now_us: u64) {
        self.is_touched = true;
        let from = self.window(since);
        let same = |moment: &Moment| moment.view == *view;
        let index = match self.moments[from..].iter().position(same) {
            Some(index) => from + index,
            None => {
                self.push(view.clone(), now, now_us);
                self.moments.len() - 1
            }
        };
        self.floor = self.floor.max(index);
        if self.looked_older.is_empty() {
            self.looked_older = std::mem::take(&mut self.older);
        }
        self.older.clear();
    }

    /// Where in the window since `since` a view is; what is not there comes last.
    pub fn rank(&self, since: u64, view: &View) -> usize {
        let window = &self.moments[self.window(since)..];
        let found = window.iter().position(|moment| *moment.view == *view);
        found.unwrap_or(usize::MAX)
    }

    /// Strings that an announcement may show.
    pub fn announced(&self, now_us: u64) -> impl Iterator<Item = &Vec<u8>> {
        let ends = self.moments.iter().skip(1).map(|next| next.from_us);
        self.moments
            .iter()
            .zip(ends.chain([u64::MAX]))
            .filter(move |(_, end_us)| end_us.saturating_add(ANNOUNCED_LATE_US) >= now_us)
            .map(|(moment, _)| &moment.view.string)
    }

    fn push(&mut self, view: Rc<View>, from: u64, from_us: u64) {
        self.moments.push(Moment {
            view,
            from,
            from_us,
        });
    }

    /// What a crash may leave, counted from a floor.
    fn promised(&self, floor: usize, older: &[Rc<View>]) -> Vec<Rc<View>> {
        let mut all = older.to_vec();
        for moment in &self.moments[floor..] {
            if !all.contains(&moment.view) {
                all.push(moment.view.clone());
            }
        }
        all
    }

    /// Looks at what is in force after a turn of the node. False if nobody has
    /// brought it about.
    pub fn look(
        &mut self,
        in_force: impl FnOnce() -> View,
        (now, now_us): (u64, u64),
        apply: impl Fn(&Request, &View) -> View,
    ) -> bool {
        if !std::mem::take(&mut self.is_touched) {
            return true;
        }
        let in_force = Rc::new(in_force());
        let mut is_right = true;
        if !self.pending.is_empty() || *self.in_force() != in_force {
            let since = self.moments[self.looked].from;
            let possible = self.possible(since, apply);
            is_right = possible.contains(&in_force) || possible.len() >= OUTCOMES_MAX;
            for view in possible {
                if !self.moments[self.looked..].iter().any(|m| m.view == view) {
                    self.push(view, now, now_us);
                }
            }
            if *self.in_force() != in_force {
                self.push(in_force, now, now_us);
            }
        }
        self.pending.retain(|pending| !pending.is_over);
        self.forget(now_us);
        self.looked = self.moments.len() - 1;
        self.looked_floor = self.floor;
        self.looked_older.clear();
        is_right
    }

    /// Forgets what can neither come back nor be told any more.
    fn forget(&mut self, now_us: u64) {
        let ends = self.moments.iter().skip(1).map(|next| next.from_us);
        let old = ends
            .take(self.floor)
            .take_while(|end_us| end_us + REMEMBERED_US < now_us)
            .count();
        self.moments.drain(..old);
        self.floor -= old;
    }

    /// The node has said that its boot disk failed it. What it answered in this
    /// very turn it did not promise any more.
    pub fn freeze(&mut self) {
        let mut older = self.looked_older.clone();
        older.extend(self.older.iter().cloned());
        self.frozen = Some(self.promised(self.looked_floor, &older));
    }

    /// The node died. What it knows next is one of these, or `fresh` if it keeps
    /// nothing.
    pub fn lose_the_node(&mut self, fresh: Option<View>) {
        let left = match (fresh, self.frozen.take()) {
            (Some(view), _) => vec![Rc::new(view)],
            (None, Some(frozen)) => frozen,
            (None, None) => self.promised(self.floor, &self.older),
        };
        let last = left.last().cloned().expect("there is always one");
        *self = Self {
            older: left,
            ..Self::new((*last).clone())
        };
    }

    /// The node has started with `view`. False if that was lost or never set.
    pub fn start(&mut self, view: View, now: u64, now_us: u64) -> bool {
        let view = Rc::new(view);
        let is_right = self.older.contains(&view);
        self.moments.clear();
        self.push(view, now, now_us);
        self.floor = 0;
        is_right
    }

    /// For those who replay a seed: what would have been right.
    pub fn describe(&self) -> String {
        format!(
            "{:02x?}, older {:02x?}",
            self.promised(self.floor, &[]),
            self.older
        )
    }
}
