//! Options about money, and about what tenants store.

use freehold_control::{BillingSettings, StorageSettings};
use freehold_domain::Currency;

use super::{Options, Setting};

impl Setting for Currency {
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: freehold_domain::MoneyError| error.to_string())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Options {
    /// What is set about billing.
    pub fn billing(&self) -> BillingSettings {
        let lines = |text: &str| text.replace("\\n", "\n");
        BillingSettings {
            currency: self.currency,
            seller: lines(&self.seller),
            invoice_note: lines(&self.invoice_note),
            invoice_due_days: self.invoice_due_days,
            invoice_monthly: self.invoice_monthly,
            usage_flush_ms: self.usage_flush_ms,
            usage_retention_days: self.usage_retention_days,
            webhook_private: self.webhook_private,
        }
    }

    /// What is set about what tenants store.
    pub fn storage(&self) -> StorageSettings {
        StorageSettings { bytes_default: self.storage_bytes_default.0, response_days: self.response_retention_days }
    }
}
