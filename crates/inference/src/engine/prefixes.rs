//! Cached prefixes: slots whose sequence has ended but whose cells still hold what was computed.
//!
//! Knows which tokens lie in which slot, under which scope, and which was used last; the account of the cells is
//! the scheduler's.
//!
//! **Invariant:** a prefix is found only under the scope it was inserted under, and no entry of a scope is the
//! beginning of another.

use super::Token;
use super::schedule::{AdapterKey, Scope};

/// Shorter prefixes are not worth a slot.
const TOKENS_MIN: usize = 8;

/// The entries, least recently used first.
#[derive(Debug, Default)]
pub(crate) struct Prefixes {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    slot: u32,
    scope: Scope,
    adapter: AdapterKey,
    tokens: Vec<Token>,
}

/// Where the beginning of a sequence lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The slot.
    pub slot: u32,
    /// How many tokens.
    pub length: u32,
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
        let found = entries.map(|entry| Found { slot: entry.slot, length: common_prefix(tokens, &entry.tokens) });
        found.filter(|found| found.length > 0).max_by_key(|found| found.length)
    }

    /// Adds an entry. Gives the slots that are now of no use: those of entries that are the beginning of another,
    /// the new one included.
    pub fn insert(&mut self, slot: u32, scope: Scope, adapter: AdapterKey, tokens: Vec<Token>) -> Vec<u32> {
        if tokens.len() < TOKENS_MIN {
            return vec![slot];
        }
        if let Some(longer) = self.entries.iter().find(|entry| entry.scope == scope && entry.tokens.starts_with(&tokens)) {
            let longer = longer.slot;
            self.touch(longer);
            return vec![slot];
        }
        let mut useless = Vec::new();
        self.entries.retain(|entry| {
            let keep = entry.scope != scope || !tokens.starts_with(&entry.tokens);
            if !keep {
                useless.push(entry.slot);
            }
            keep
        });
        self.entries.push(Entry { slot, scope, adapter, tokens });
        useless
    }

    /// Notes that an entry was used.
    pub fn touch(&mut self, slot: u32) {
        if let Some(index) = self.entries.iter().position(|entry| entry.slot == slot) {
            self.entries[index..].rotate_left(1);
        }
    }

    /// Removes the entry that was not used for the longest time.
    pub fn remove_oldest(&mut self, except: Option<u32>) -> Option<u32> {
        let index = self.entries.iter().position(|entry| Some(entry.slot) != except)?;
        Some(self.entries.remove(index).slot)
    }

    /// Removes the entries of an adapter.
    pub fn remove_adapter(&mut self, adapter: AdapterKey) -> Vec<u32> {
        let (removed, kept) = self.entries.drain(..).partition(|entry| entry.adapter == adapter);
        self.entries = kept;
        let removed: Vec<Entry> = removed;
        removed.into_iter().map(|entry| entry.slot).collect()
    }

    /// Removes all entries.
    pub fn remove_all(&mut self) -> Vec<u32> {
        self.entries.drain(..).map(|entry| entry.slot).collect()
    }
}
