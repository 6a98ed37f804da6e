//! A sliding minute and a calendar window.
//!
//! **Invariant:** no 60 seconds, wherever they begin, hold more than was let in: a slot leaves only when its last
//! moment is a full minute ago.

use freehold_domain::NanoUnits;

/// Sixty whole seconds, and the one that has begun.
const SLOTS: usize = 61;
const SPAN_S: i64 = SLOTS as i64;

/// How much came in during the last minute, by the second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Minute {
    slots: Box<[u64; SLOTS]>,
    newest_s: i64,
    total: u64,
}

impl Minute {
    pub fn new(now_s: i64) -> Self {
        Self { slots: Box::new([0; SLOTS]), newest_s: now_s, total: 0 }
    }

    fn slot(second: i64) -> usize {
        // `rem_euclid` of a positive constant is never negative.
        second.rem_euclid(SPAN_S) as usize
    }

    /// Lets the seconds pass. A time before the newest one changes nothing.
    pub fn advance(&mut self, now_s: i64) {
        let passed = now_s.saturating_sub(self.newest_s);
        if passed <= 0 {
            return;
        }
        if passed >= SPAN_S {
            self.slots.fill(0);
            self.total = 0;
        } else {
            for second in self.newest_s + 1..=now_s {
                let slot = &mut self.slots[Self::slot(second)];
                self.total -= std::mem::take(slot);
            }
        }
        self.newest_s = now_s;
    }

    pub fn total(&self) -> u64 {
        self.total
    }

    /// Whether that much more fits; if not, after how many seconds it does. `None` inside: never.
    pub fn fits(&self, asked: u64, max: u64) -> Result<(), Option<u32>> {
        let Some(room) = max.checked_sub(asked) else { return Err(None) };
        if self.total <= room {
            return Ok(());
        }
        let mut left = self.total;
        for age in (0..SPAN_S).rev() {
            left -= self.slots[Self::slot(self.newest_s - age)];
            if left <= room {
                return Err(u32::try_from(SPAN_S - age).ok());
            }
        }
        Err(None)
    }

    /// Counts at the newest second, which is returned.
    pub fn add(&mut self, amount: u64) -> i64 {
        self.total = self.total.saturating_add(amount);
        let slot = &mut self.slots[Self::slot(self.newest_s)];
        *slot = slot.saturating_add(amount);
        self.newest_s
    }

    /// Puts right what was counted at a second: `counted` was the guess, `used` is the truth.
    pub fn correct(&mut self, second: i64, counted: u64, used: u64) {
        if self.newest_s - second >= SPAN_S || second > self.newest_s {
            return;
        }
        let slot = &mut self.slots[Self::slot(second)];
        let corrected = slot.saturating_sub(counted).saturating_add(used);
        self.total = self.total.saturating_sub(*slot).saturating_add(corrected);
        *slot = corrected;
    }
}

/// What was spent and is held in the day or the month that is running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Spending {
    /// Which day or month, counted from 1970.
    pub window: i64,
    pub spent: NanoUnits,
    pub held: NanoUnits,
    /// The highest threshold that was reported in this window, in percent.
    pub alerted_percent: u8,
}

impl Spending {
    /// Begins a new window when its time has come.
    pub fn advance(&mut self, window: i64) {
        if window > self.window {
            *self = Self { window, ..Self::default() };
        }
    }

    /// What is spent and held, as much as fits.
    pub fn taken(&self) -> NanoUnits {
        self.spent.plus(self.held).unwrap_or(NanoUnits::MAX)
    }

    pub fn hold(&mut self, amount: NanoUnits) {
        self.held = self.held.plus(amount).unwrap_or(NanoUnits::MAX);
    }

    /// Ends a hold that was taken in `window`; what a hold of an earlier window cost belongs to that one.
    pub fn settle(&mut self, window: i64, held: NanoUnits, spent: NanoUnits) {
        if window == self.window {
            self.held = self.held.minus(held).unwrap_or_default().max(NanoUnits::ZERO);
            self.spent = self.spent.plus(spent).unwrap_or(NanoUnits::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_sixty_seconds_hold_more_than_the_limit() {
        let mut minute = Minute::new(100);
        minute.add(10);
        assert_eq!(minute.fits(1, 10), Err(Some(61)));
        assert_eq!(minute.fits(11, 10), Err(None));
        minute.advance(160);
        assert_eq!(minute.fits(1, 10), Err(Some(1)));
        minute.advance(161);
        assert_eq!(minute.fits(10, 10), Ok(()));
    }

    #[test]
    fn a_wait_is_as_long_as_it_must_be() {
        let mut minute = Minute::new(0);
        minute.add(4);
        minute.advance(10);
        minute.add(4);
        assert_eq!(minute.fits(4, 10), Err(Some(51)), "the first four leave at 61");
        assert_eq!(minute.fits(7, 10), Err(Some(61)), "all must leave, at 71");
        minute.advance(5);
        assert_eq!(minute.total(), 8, "time does not run backwards");
    }

    #[test]
    fn a_guess_is_corrected_while_it_counts() {
        let mut minute = Minute::new(0);
        let second = minute.add(100);
        minute.advance(30);
        minute.correct(second, 100, 7);
        assert_eq!(minute.total(), 7);
        minute.advance(61);
        minute.correct(second, 7, 0);
        assert_eq!(minute.total(), 0);
    }
}
