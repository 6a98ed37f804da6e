//! What the service writes to people. Plain text, and nothing in it that a stranger chose, but for the name of a tenant
//! that cannot be taken for a link.
//!
//! A link carries its token behind `#`, which browsers keep to themselves: it is in no log and no referrer.

use freehold_domain::TenantName;

use super::token::Token;

pub(crate) struct Letter {
    pub(crate) subject: &'static str,
    pub(crate) body: String,
}

/// To somebody who signs up.
pub(crate) fn verify(public_url: &str, token: &Token) -> Letter {
    Letter {
        subject: "Confirm your e-mail address",
        body: format!(
            "Somebody, we hope you, signed up at\n{public_url}\nwith this address. To confirm that it is yours, open\n\n\
             {public_url}/#/verify/{}\n\nand type the password that you chose. The link is good for one day and works once. If it was not you, do nothing.\n",
            token.reveal()
        ),
    }
}

/// To somebody who has an account, when somebody signs up with the address.
pub(crate) fn known(public_url: &str) -> Letter {
    Letter {
        subject: "You have an account already",
        body: format!(
            "Somebody, perhaps you, signed up at\n{public_url}\nwith this address, which has an account already. Nothing was changed.\n\n\
             To log in: {public_url}/#/login\nIf you forgot your password: {public_url}/#/forgot\n"
        ),
    }
}

const UNPROVED: &str = "\nUntil now nobody has proved that this address is theirs. Your new password proves it, and ends the API keys and \
                        the sessions that were made with the account before.\n";

/// To somebody who forgot the password. `is_known`: nothing of the account can be a stranger's.
pub(crate) fn reset(public_url: &str, token: &Token, is_known: bool) -> Letter {
    Letter {
        subject: "Choose a new password",
        body: format!(
            "Somebody, we hope you, asked for a new password at\n{public_url}\nTo choose one, open\n\n{public_url}/#/reset/{}\n\n\
             The link is good for one hour and works once. If it was not you, do nothing.\n{}",
            token.reveal(),
            if is_known { "" } else { UNPROVED }
        ),
    }
}

/// To somebody who is to be a member of a tenant.
pub(crate) fn invite_to_tenant(public_url: &str, tenant: &TenantName, code: &Token) -> Letter {
    // Programs that show mail make links of names with dots.
    let tenant = if tenant.as_str().contains('.') { "a tenant".to_owned() } else { format!("the tenant \"{tenant}\"") };
    Letter {
        subject: "You are invited",
        body: format!(
            "You are invited to {tenant} at\n{public_url}\nTo accept, open\n\n{public_url}/#/invite/{}\n\n\
             The link is good for seven days and works once. If you do not know what this is, do nothing.\n",
            code.reveal()
        ),
    }
}

/// To somebody who may sign up.
pub(crate) fn invite_to_service(public_url: &str, code: &Token) -> Letter {
    Letter {
        subject: "You are invited",
        body: format!("You are invited to sign up at\n{public_url}\nTo do so, open\n\n{public_url}/#/invite/{}\n", code.reveal()),
    }
}

/// To somebody who waited.
pub(crate) fn admitted(public_url: &str) -> Letter {
    Letter { subject: "You are in", body: format!("Your account at\n{public_url}\nis ready. To log in, open\n\n{public_url}/#/login\n") }
}
