//! How often something may be tried, counted in memory in windows of time.
//!
//! **Invariant:** the memory is bounded: past [`ENTRIES_MAX`] a window that has ended goes, or else some other.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use freehold_domain::{Error, ErrorCode, Timestamp};

const ENTRIES_MAX: usize = 50_000;
const MINUTE_MS: i64 = 60 * 1000;
/// Mails about signing up that go to one address in an hour.
pub(crate) const SIGNUP_MAILS_MAX: u32 = 15;
/// Mails about a new password that go to one address in an hour, which is as long as they are good.
pub(crate) const RESET_MAILS_MAX: u32 = 15;

/// Places on the waiting list that people without a proved address get from one network in a day.
pub(crate) const WAITS_FROM_NETWORK_MAX: u32 = 40;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Limited {
    /// Failed log-ins to one account.
    LoginTo,
    /// Failed log-ins from one address.
    LoginFrom,
    /// Sign-ups and other forms that send mail, from one address.
    FormFrom,
    /// Mails to one address about signing up.
    SignupMailTo,
    /// Mails to one address about a new password.
    ResetMailTo,
    /// Invitations that are mailed to one address.
    InviteMailTo,
    /// Invitations that are mailed by one tenant.
    InviteMailBy,
    /// Log-ins at a provider that were begun, from one address.
    OidcFrom,
    /// Tokens and invite codes that were tried, from one address.
    TokenFrom,
    /// Places on the waiting list without a proved address, from one network.
    WaitFrom,
}

impl Limited {
    /// How often, in how many milliseconds.
    fn allowance(self) -> (u32, i64) {
        match self {
            Self::LoginTo => (20, 15 * MINUTE_MS),
            Self::LoginFrom => (100, 15 * MINUTE_MS),
            Self::FormFrom => (60, 60 * MINUTE_MS),
            // More than one person asks for, since strangers can ask too.
            Self::SignupMailTo => (SIGNUP_MAILS_MAX, 60 * MINUTE_MS),
            Self::ResetMailTo => (RESET_MAILS_MAX, 60 * MINUTE_MS),
            Self::InviteMailTo => (5, 60 * MINUTE_MS),
            Self::InviteMailBy => (50, 60 * MINUTE_MS),
            Self::OidcFrom => (200, 15 * MINUTE_MS),
            Self::TokenFrom => (100, 15 * MINUTE_MS),
            // A class in a school's network signs up together.
            Self::WaitFrom => (WAITS_FROM_NETWORK_MAX, 24 * 60 * MINUTE_MS),
        }
    }
}

#[derive(Clone, Copy)]
struct Window {
    ends_at: Timestamp,
    count: u32,
}

#[derive(Default)]
pub(crate) struct Limits(Mutex<HashMap<(Limited, String), Window>>);

impl Limits {
    fn windows(&self) -> MutexGuard<'_, HashMap<(Limited, String), Window>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more.
    ///
    /// # Errors
    /// `rate_limited`, with the seconds until the window ends.
    pub(crate) fn take(&self, what: Limited, who: &str, now: Timestamp) -> Result<(), Error> {
        let (count_max, window_ms) = what.allowance();
        let mut windows = self.windows();
        if windows.len() >= ENTRIES_MAX {
            make_room(&mut windows, now);
        }
        let fresh = Window { ends_at: now.plus_ms(window_ms), count: 0 };
        let window = windows.entry((what, who.to_owned())).or_insert(fresh);
        if window.ends_at <= now {
            *window = fresh;
        }
        if window.count >= count_max {
            let seconds = (window.ends_at.unix_ms() - now.unix_ms()).div_euclid(1000) + 1;
            let message = "Too many tries: wait before you try again.";
            return Err(Error::new(ErrorCode::RateLimited, message).with_retry_after_s(u32::try_from(seconds).unwrap_or(u32::MAX)));
        }
        window.count += 1;
        Ok(())
    }

    /// One that was counted does not count.
    pub(crate) fn give_back(&self, what: Limited, who: &str) {
        if let Some(window) = self.windows().get_mut(&(what, who.to_owned())) {
            window.count = window.count.saturating_sub(1);
        }
    }
}

fn make_room(windows: &mut HashMap<(Limited, String), Window>, now: Timestamp) {
    windows.retain(|_, window| window.ends_at > now);
    if windows.len() >= ENTRIES_MAX {
        // All of them are under way: a tenth goes, so that this is not done again at once.
        let victims: Vec<_> = windows.keys().take(ENTRIES_MAX / 10).cloned().collect();
        for victim in victims {
            windows.remove(&victim);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_full_and_ends() {
        let limits = Limits::default();
        let now = Timestamp::from_unix_ms(1_700_000_000_000);
        for _ in 0..20 {
            limits.take(Limited::LoginTo, "a", now).expect("allowed");
        }
        let error = limits.take(Limited::LoginTo, "a", now.plus_ms(60_000)).expect_err("full");
        assert_eq!((error.code, error.retry_after_s), (ErrorCode::RateLimited, Some(14 * 60 + 1)));
        limits.take(Limited::LoginTo, "b", now).expect("another's");
        limits.give_back(Limited::LoginTo, "a");
        limits.take(Limited::LoginTo, "a", now).expect("one was given back");
        assert!(limits.take(Limited::LoginTo, "a", now).is_err());
        limits.take(Limited::LoginTo, "a", now.plus_ms(15 * MINUTE_MS)).expect("a new window");
    }

    #[test]
    fn the_memory_is_bounded() {
        let limits = Limits::default();
        let now = Timestamp::from_unix_ms(0);
        for n in 0..2 * ENTRIES_MAX {
            limits.take(Limited::LoginTo, &n.to_string(), now).expect("allowed");
        }
        assert!(limits.windows().len() <= ENTRIES_MAX);
    }
}
