//! Changes of what is in memory and on the disk at once.
//!
//! **Invariant:** the disk comes first; who changes has the lock that loading has, so nothing old is loaded meanwhile.

use freehold_domain::{Error, ErrorCode, TransferId};
use freehold_ledger::LedgerError;
use freehold_store::{Created, Movement, Once, TrailRow};

use crate::facade::Control;

impl Control {
    /// Takes over what was written just now. For who has `changing`.
    pub(super) fn post_all(&self, movements: Vec<Movement>) {
        let mut meter = self.shared.billing.meter();
        movements.into_iter().for_each(|movement| meter.post(movement.transfer));
    }

    /// Books a transfer that somebody asked for. The transfer that there is then: of this call, or of an earlier one.
    pub(super) async fn book(&self, movement: Movement, once: Option<Once>, trail: TrailRow) -> Result<Created<TransferId>, Error> {
        let billing = &self.shared.billing;
        let _changing = billing.changing.lock().await;
        self.load_under_lock(movement.tenant, None).await?;
        let transfer = movement.transfer.clone();
        let created =
            self.store(move |store| store.post(&movement, freehold_store::Note { once: once.as_ref(), trail: Some(&trail) })).await?;
        if created == Created::New {
            billing.meter().post(transfer);
        }
        Ok(created)
    }
}

/// What the book says to a caller.
pub(super) fn ledger_error(error: LedgerError) -> Error {
    match error {
        LedgerError::FloorTooHigh { owned, .. } => Error::new(
            ErrorCode::Conflict,
            format!("The tenant has {owned}, holds of running requests taken off: it must not be below what the new terms allow."),
        ),
        LedgerError::Money(error) => Error::invalid("amount", format!("{error}.")),
        other => Error::internal(other),
    }
}
