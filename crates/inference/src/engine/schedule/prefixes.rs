//! Cached prefixes: what ended sequences have left, in a slot of the cache or in a copy outside of it.
//!
//! A slot costs nothing to share, but its cells lie in the way of every step's attention; a copy lies in nobody's
//! way, and costs its way back. Knows which tokens lie where, under which scope, and which was used last; the
//! account of the cells is the scheduler's.
//!
//! **Invariant:** a prefix is found only under the scope it was inserted under, and no entry of a scope is the
//! beginning of another.

use super::{AdapterKey, Scope, Ticket, Token};

/// Shorter prefixes are not worth a slot.
const TOKENS_MIN: usize = 8;

/// A copy's way back takes about as long as computing so many tokens of a small model.
const RESTORE_COST_TOKENS: u32 = 16;

/// A copy is worth its way back only if at least one of so many of its tokens is wanted.
const RESTORE_PART_MIN: u32 = 2;

/// A copy is not kept beside another if no more than one of so many of its tokens is its own.
const OWN_PART_MAX: u32 = 16;

/// The entries, least recently used first.
#[derive(Debug, Default)]
pub(crate) struct Prefixes {
    entries: Vec<Entry>,
    parked_tokens: u32,
}

/// Where a prefix lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the cells of a slot.
    Slot(u32),
    /// In a copy.
    Parked(Ticket),
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub place: Place,
    pub scope: Scope,
    adapter: AdapterKey,
    pub tokens: Vec<Token>,
}

impl Entry {
    /// Tokens of the entry.
    pub fn length(&self) -> u32 {
        u32::try_from(self.tokens.len()).unwrap_or(u32::MAX)
    }
}

/// Where the beginning of a sequence lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Where.
    pub place: Place,
    /// How many tokens.
    pub length: u32,
    /// How many lie there.
    pub whole: u32,
}

impl Found {
    /// Tokens saved, less what the way back of a copy costs.
    pub fn worth(&self) -> u32 {
        match self.place {
            Place::Slot(_) => self.length,
            Place::Parked(_) => self.length.saturating_sub(RESTORE_COST_TOKENS),
        }
    }
}

/// Length of the common beginning.
pub(crate) fn common_prefix(left: &[Token], right: &[Token]) -> u32 {
    const BLOCK: usize = 32;
    let all = left.len().min(right.len());
    let mut length = 0;
    while length + BLOCK <= all && left[length..length + BLOCK] == right[length..length + BLOCK] {
        length += BLOCK;
    }
    while length < all && left[length] == right[length] {
        length += 1;
    }
    u32::try_from(length).unwrap_or(u32::MAX)
}

impl Prefixes {
    /// The longest beginning of these tokens.
    pub fn find(&self, scope: &Scope, tokens: &[Token]) -> Option<Found> {
        let entries = self.entries.iter().filter(|entry| entry.scope == *scope);
        let found = entries.map(|entry| Found { place: entry.place, length: common_prefix(tokens, &entry.tokens), whole: entry.length() });
        let is_worth = |found: &Found| match found.place {
            Place::Slot(_) => true,
            Place::Parked(_) => found.length >= found.whole.div_ceil(RESTORE_PART_MIN),
        };
        found.filter(|found| found.worth() > 0 && is_worth(found)).max_by_key(Found::worth)
    }

    /// Adds an entry. Gives the places that are now of no use: those of entries that are the beginning of another,
    /// the new one included.
    pub fn insert(&mut self, slot: u32, scope: Scope, adapter: AdapterKey, tokens: Vec<Token>) -> Vec<Place> {
        let place = Place::Slot(slot);
        if tokens.len() < TOKENS_MIN {
            return vec![place];
        }
        if let Some(longer) = self.entries.iter().find(|entry| entry.scope == scope && entry.tokens.starts_with(&tokens)) {
            let longer = longer.place;
            self.touch(longer);
            return vec![place];
        }
        let useless = self.take(|entry| entry.scope == scope && tokens.starts_with(&entry.tokens));
        self.entries.push(Entry { place, scope, adapter, tokens });
        useless
    }

    /// Notes that an entry was used.
    pub fn touch(&mut self, place: Place) {
        if let Some(index) = self.entries.iter().position(|entry| entry.place == place) {
            self.entries[index..].rotate_left(1);
        }
    }

    /// The entries that lie in slots, the one that was used last first.
    pub fn in_slots(&self) -> impl Iterator<Item = (u32, &Entry)> {
        self.entries.iter().rev().filter_map(|entry| match entry.place {
            Place::Slot(slot) => Some((slot, entry)),
            Place::Parked(_) => None,
        })
    }

    /// Tokens of all copies.
    pub fn parked_tokens(&self) -> u32 {
        self.parked_tokens
    }

    /// An entry was copied out of its slot.
    pub fn park(&mut self, slot: u32, ticket: Ticket) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.place == Place::Slot(slot)) {
            entry.place = Place::Parked(ticket);
            self.parked_tokens += entry.length();
        }
    }

    /// Removes an entry.
    pub fn remove(&mut self, place: Place) {
        self.take(|entry| entry.place == place);
    }

    /// Removes the entry in a slot that was not used for the longest time.
    pub fn remove_oldest_slot(&mut self, except: Option<Place>) -> Option<u32> {
        let oldest = self.entries.iter().find_map(|entry| match entry.place {
            Place::Slot(slot) if Some(entry.place) != except => Some(slot),
            _ => None,
        })?;
        self.remove(Place::Slot(oldest));
        Some(oldest)
    }

    /// Removes a copy that holds little which the entry in a slot does not: the entry stands for both.
    pub fn remove_parked_like(&mut self, slot: u32, except: Option<Place>) -> Option<Ticket> {
        let entry = self.entries.iter().find(|entry| entry.place == Place::Slot(slot))?;
        let ticket = self.entries.iter().find_map(|other| match other.place {
            Place::Parked(ticket) if other.scope == entry.scope && Some(other.place) != except => {
                let own = other.length() - common_prefix(&entry.tokens, &other.tokens);
                (own <= other.length() / OWN_PART_MAX).then_some(ticket)
            }
            _ => None,
        })?;
        self.remove(Place::Parked(ticket));
        Some(ticket)
    }

    /// Removes the oldest of the copies that were used before the entry in a slot.
    pub fn remove_parked_before(&mut self, slot: u32, except: Option<Place>) -> Option<Ticket> {
        let older = self.entries.iter().take_while(|entry| entry.place != Place::Slot(slot));
        let ticket = older.filter(|entry| Some(entry.place) != except).find_map(|entry| match entry.place {
            Place::Parked(ticket) => Some(ticket),
            Place::Slot(_) => None,
        })?;
        self.remove(Place::Parked(ticket));
        Some(ticket)
    }

    /// Removes the copy that was not used for the longest time.
    pub fn remove_oldest_parked(&mut self, except: Option<Place>) -> Option<Ticket> {
        let oldest = self.entries.iter().find_map(|entry| match entry.place {
            Place::Parked(ticket) if Some(entry.place) != except => Some(ticket),
            _ => None,
        })?;
        self.remove(Place::Parked(oldest));
        Some(oldest)
    }

    /// Removes the entries of an adapter.
    pub fn remove_adapter(&mut self, adapter: AdapterKey) -> Vec<Place> {
        self.take(|entry| entry.adapter == adapter)
    }

    /// Removes all entries.
    pub fn remove_all(&mut self) -> Vec<Place> {
        self.take(|_| true)
    }

    fn take(&mut self, is_gone: impl Fn(&Entry) -> bool) -> Vec<Place> {
        let mut gone = Vec::new();
        self.entries.retain(|entry| {
            let keep = !is_gone(entry);
            if !keep {
                gone.push(entry.place);
                if matches!(entry.place, Place::Parked(_)) {
                    self.parked_tokens -= entry.length();
                }
            }
            keep
        });
        gone
    }
}
