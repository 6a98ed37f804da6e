//! What tenants and keys have stored, and what is held for what is being made.
//!
//! A hold is for the most that a thing can take; when it is stored, what it takes in truth replaces the hold. The sums
//! themselves are durable elsewhere: whoever has them brings them in with [`Shelves::load`] and says what changed.
//!
//! **Invariant:** what is stored and held never goes above the limit that was in force when the hold was taken.

use std::collections::HashMap;

use crate::limits::{LimitKind, Refused, Scope};

/// The storage of a tenant or a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shelf {
    /// Bytes that are stored.
    pub used: u64,
    /// Bytes that are held.
    pub held: u64,
}

impl Shelf {
    /// Bytes that nobody else can have.
    pub fn taken(&self) -> u64 {
        self.used.saturating_add(self.held)
    }
}

/// The storage of everybody who was looked at.
#[derive(Clone, Debug, Default)]
pub struct Shelves(HashMap<Scope, Shelf>);

impl Shelves {
    /// What is known of a tenant or a key. What is not is to be loaded before it is held for.
    pub fn shelf(&self, scope: Scope) -> Option<Shelf> {
        self.0.get(&scope).copied()
    }

    /// Brings in how many bytes are stored. Does nothing if that is known already.
    pub fn load(&mut self, scope: Scope, used: u64) {
        self.0.entry(scope).or_insert(Shelf { used, held: 0 });
    }

    /// Holds bytes in every scope, or in none.
    ///
    /// # Errors
    /// The first limit that stands in the way; `used` is what is stored and held.
    pub fn hold(&mut self, scopes: &[(Scope, Option<u64>)], bytes: u64) -> Result<(), Refused> {
        for &(scope, max) in scopes {
            let Some(max) = max else { continue };
            let shelf = self.0.get(&scope).copied().unwrap_or_default();
            if shelf.taken().saturating_add(bytes) > max {
                let waits = shelf.held > 0 && shelf.used.saturating_add(bytes) <= max;
                let retry_after_s = waits.then_some(1);
                return Err(Refused { scope, kind: LimitKind::StorageBytes, max, used: shelf.taken(), asked: bytes, retry_after_s });
            }
        }
        for (scope, _) in scopes {
            let shelf = self.0.entry(*scope).or_default();
            shelf.held = shelf.held.saturating_add(bytes);
        }
        Ok(())
    }

    /// Ends a hold with what was stored: nothing, where nothing was.
    pub fn settle(&mut self, scopes: impl IntoIterator<Item = Scope>, held: u64, stored: u64) {
        for scope in scopes {
            if let Some(shelf) = self.0.get_mut(&scope) {
                shelf.held = shelf.held.saturating_sub(held);
                shelf.used = shelf.used.saturating_add(stored);
            }
        }
    }

    /// Takes back what is not stored any more.
    pub fn free(&mut self, scope: Scope, bytes: u64) {
        if let Some(shelf) = self.0.get_mut(&scope) {
            shelf.used = shelf.used.saturating_sub(bytes);
        }
    }

    /// Forgets everybody for whom nothing is held: they are loaded again when they are needed.
    pub fn forget_idle(&mut self) {
        self.0.retain(|_, shelf| shelf.held > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(n: u128) -> Scope {
        Scope::Tenant(freehold_domain::TenantId::from_uuid(uuid::Uuid::from_u128(n)))
    }

    #[test]
    fn both_or_none() {
        let mut shelves = Shelves::default();
        shelves.load(scope(1), 10);
        shelves.load(scope(2), 0);
        shelves.load(scope(1), 99);
        let both = [(scope(1), Some(100)), (scope(2), Some(50))];
        let refused = shelves.hold(&both, 60).expect_err("the second has no room");
        assert_eq!((refused.scope, refused.used, refused.max, refused.retry_after_s), (scope(2), 0, 50, None));
        assert_eq!(shelves.shelf(scope(1)), Some(Shelf { used: 10, held: 0 }));
        shelves.hold(&both, 40).expect("it fits");
        assert_eq!(shelves.hold(&both, 40).expect_err("held").retry_after_s, Some(1), "it may fit later");
        shelves.settle([scope(1), scope(2)], 40, 25);
        assert_eq!(shelves.shelf(scope(1)), Some(Shelf { used: 35, held: 0 }));
        shelves.free(scope(1), 35);
        shelves.free(scope(3), 1);
        assert_eq!(shelves.shelf(scope(1)), Some(Shelf::default()));
        shelves.hold(&[(scope(1), None)], u64::MAX).expect("without a limit");
        shelves.forget_idle();
        assert_eq!((shelves.shelf(scope(1)).map(|shelf| shelf.held), shelves.shelf(scope(2))), (Some(u64::MAX), None));
    }

    #[test]
    fn holds_at_once_never_pass_the_limit() {
        let mut shelves = Shelves::default();
        shelves.load(scope(1), 0);
        let admitted = (0..500).filter(|_| shelves.hold(&[(scope(1), Some(1000))], 97).is_ok()).count();
        assert_eq!(admitted, 10);
        assert!(shelves.shelf(scope(1)).is_some_and(|shelf| shelf.taken() <= 1000));
    }
}
