//! The dates that matter in a contract: its own, and those of the EU Data Act.
//!
//! Regulation (EU) 2023/2854, Chapter VI, applies since 12 September 2025 (Article 50). It gives a customer the right
//! to switch at any time; the contract's end is then not the end that counts. What follows from it for one contract
//! is computed here with the article beside each date. This is arithmetic, not legal advice.

use serde::Serialize;
use time::macros::date;
use time::{Date, Duration};

use super::dates::{plus_days, plus_months, plus_working_days};
use super::{Amount, Contract, EarlyTermination, dates};

/// Regulation (EU) 2023/2854 on EUR-Lex.
pub const DATA_ACT_URL: &str = "https://eur-lex.europa.eu/eli/reg/2023/2854/oj/eng";

/// From this day no switching charge may be imposed (Article 29(1)).
pub const NO_SWITCHING_CHARGES_FROM: Date = date!(2027 - 01 - 12);

/// Longest notice for switching, in months (Article 25(2), point (d)).
pub const NOTICE_MONTHS_MAX: i32 = 2;

/// Longest transitional period, in calendar days (Article 25(2), point (a)).
pub const TRANSITION_DAYS_MAX: i64 = 30;

/// Longest transitional period that a provider may state for technical reasons, in months (Article 25(4)).
pub const TRANSITION_EXTENDED_MONTHS_MAX: i32 = 7;

/// Working days in which a provider must say that it needs longer (Article 25(4)).
pub const EXTENSION_ANSWER_WORKING_DAYS: u32 = 14;

/// Shortest period for retrieving data after the transition, in calendar days (Article 25(2), point (g)).
pub const RETRIEVAL_DAYS_MIN: i64 = 30;

/// What a date in a contract's life is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClockKind {
    /// Until then the provider takes the commitment back.
    Returnable,
    /// Last day for the contract's own notice against its renewal or for its end.
    Notice,
    /// Last day on which a switch can begin and be over, by the law's longest periods, when the contract ends.
    StartSwitch,
    /// Switching charges end.
    NoSwitchingCharges,
    /// Until then the provider must say that 30 days do not suffice.
    ExtensionAnswer,
    /// Notice of switching has run.
    SwitchNoticeEnds,
    /// The transitional period ends.
    TransitionEnds,
    /// The longest transitional period that a provider may claim ends.
    TransitionExtendedEnds,
    /// Data can be retrieved at least until then; erasure follows.
    RetrievalEnds,
    /// The commitment ends.
    PeriodEnds,
    /// The agreement above it ends.
    ContractEnds,
    /// It renews unless notice was given.
    Renews,
}

impl ClockKind {
    /// A short stable name, part of calendar ids.
    pub fn key(self) -> &'static str {
        match self {
            ClockKind::Returnable => "returnable",
            ClockKind::Notice => "notice",
            ClockKind::StartSwitch => "start-switch",
            ClockKind::NoSwitchingCharges => "no-switching-charges",
            ClockKind::ExtensionAnswer => "extension-answer",
            ClockKind::SwitchNoticeEnds => "switch-notice-ends",
            ClockKind::TransitionEnds => "transition-ends",
            ClockKind::TransitionExtendedEnds => "transition-extended-ends",
            ClockKind::RetrievalEnds => "retrieval-ends",
            ClockKind::PeriodEnds => "period-ends",
            ClockKind::ContractEnds => "contract-ends",
            ClockKind::Renews => "renews",
        }
    }

    /// Whether a person must have decided by then.
    pub fn is_decision(self) -> bool {
        matches!(self, ClockKind::Returnable | ClockKind::Notice | ClockKind::StartSwitch | ClockKind::PeriodEnds | ClockKind::ContractEnds)
    }
}

/// One date.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Clock {
    /// What it is.
    pub kind: ClockKind,
    /// When.
    #[serde(with = "dates::iso")]
    pub date: Date,
    /// What happens or must have happened, in a few words.
    pub title: String,
    /// The article it rests on, or `contract`.
    pub basis: String,
    /// What to do and to know.
    pub detail: String,
    /// True when the date follows from a notice that was not given yet: it supposes that it is given today.
    pub supposed: bool,
}

/// Every date of a contract, earliest first, as seen on a day.
pub fn clocks(contract: &Contract, today: Date) -> Vec<Clock> {
    let mut all = own_clocks(contract);
    if contract.data_act != Some(false) {
        all.extend(switching_clocks(contract, today));
    }
    all.sort_by_key(|clock| (clock.date, clock.kind));
    all
}

fn clock(kind: ClockKind, date: Date, title: &str, basis: &str, detail: String) -> Clock {
    Clock { kind, date, title: title.to_owned(), basis: basis.to_owned(), detail, supposed: false }
}

fn own_clocks(contract: &Contract) -> Vec<Clock> {
    let mut all = Vec::new();
    let end = contract.period_end;
    if let Some(until) = contract.returnable_until.filter(|until| *until > contract.period_start) {
        let detail = "The provider takes this commitment back until this day: ask before it passes.".to_owned();
        all.push(clock(ClockKind::Returnable, until, "Last day to return the commitment", "contract", detail));
    }
    let renews = contract.auto_renew == Some(true);
    if renews || contract.notice_days.is_some() {
        let days = contract.notice_days.unwrap_or(0);
        let last = plus_days(end, -i64::from(days));
        let detail = if renews {
            format!("Without written notice of {days} days it renews{}.", for_months(contract.renewal_months))
        } else {
            format!("The contract asks for {days} days of notice before its end.")
        };
        all.push(clock(ClockKind::Notice, last, "Last day to give the contract's notice", "contract", detail));
    }
    if renews {
        let detail = format!("Renews{} unless notice was given.", for_months(contract.renewal_months));
        all.push(clock(ClockKind::Renews, end, "Renews by itself", "contract", detail));
    } else {
        let detail = match contract.remaining {
            Some(left) if left > Amount::ZERO => format!("{} was not consumed when the provider last reported.", contract.money(left)),
            _ => "The commitment is over; from here on list prices apply unless a new one was made.".to_owned(),
        };
        all.push(clock(ClockKind::PeriodEnds, end, "The commitment ends", "contract", detail));
    }
    if let Some(agreement) = contract.contract_period_end.filter(|agreement| *agreement != end) {
        let detail = "The agreement that this commitment belongs to ends.".to_owned();
        all.push(clock(ClockKind::ContractEnds, agreement, "The agreement ends", "contract", detail));
    }
    all
}

fn for_months(months: Option<u32>) -> String {
    months.map(|months| format!(" for {months} months")).unwrap_or_default()
}

fn switching_clocks(contract: &Contract, today: Date) -> Vec<Clock> {
    let mut all = Vec::new();
    let started = contract.switching_notice;
    let from = started.unwrap_or(today);
    let supposed = started.is_none();
    let mut push = |kind, date, title: &str, basis: &str, detail: String| {
        all.push(Clock { supposed, ..clock(kind, date, title, basis, detail) });
    };
    let notice_ends = switching_notice_end(contract, from);
    let transition_ends = plus_days(notice_ends, TRANSITION_DAYS_MAX);
    let capped = contract.notice_days.is_some_and(|days| plus_days(from, i64::from(days)) > plus_months(from, NOTICE_MONTHS_MAX));
    let cap = if capped { " The contract asks for more, which the law does not allow for switching." } else { "" };
    push(
        ClockKind::SwitchNoticeEnds,
        notice_ends,
        "Notice of switching has run",
        "Art. 25(2)(d)",
        format!(
            "Notice of switching may be two months at most, whatever the remaining term.{cap} Say whether you move to another provider, to your own premises, or want erasure (Art. 25(3))."
        ),
    );
    push(
        ClockKind::ExtensionAnswer,
        plus_working_days(from, EXTENSION_ANSWER_WORKING_DAYS),
        "The provider must have said if it needs longer than 30 days",
        "Art. 25(4)",
        "Within 14 working days of the request, with reasons and an alternative period; national holidays are not counted here.".to_owned(),
    );
    push(
        ClockKind::TransitionEnds,
        transition_ends,
        "The transitional period ends",
        "Art. 25(2)(a)",
        "At most 30 days from the end of notice, with the provider's help, continuity and security; you may extend it once by a period of your choice (Art. 25(5)).".to_owned(),
    );
    push(
        ClockKind::TransitionExtendedEnds,
        plus_months(notice_ends, TRANSITION_EXTENDED_MONTHS_MAX),
        "The longest transition a provider may claim ends",
        "Art. 25(4)",
        "Only where 30 days are technically unfeasible and the provider said so in time; service continues meanwhile.".to_owned(),
    );
    push(
        ClockKind::RetrievalEnds,
        plus_days(transition_ends, RETRIEVAL_DAYS_MIN),
        "Data can be retrieved at least until here",
        "Art. 25(2)(g), (h)",
        "At least 30 days after the transition; then everything exportable must be erased, if the switch succeeded.".to_owned(),
    );
    if supposed {
        let latest = plus_months(plus_days(contract.period_end, -TRANSITION_DAYS_MAX), -NOTICE_MONTHS_MAX);
        let detail = "Two months of notice and 30 days of transition then end with the commitment: nothing is paid twice.".to_owned();
        all.push(clock(
            ClockKind::StartSwitch,
            latest,
            "Last day to start a switch that ends with the contract",
            "Art. 25(2)(a), (d)",
            detail,
        ));
    }
    let detail = "From this day no switching charge, egress for the switch included. Until then only the provider's own direct costs (Art. 29(2), (3)). Early-termination penalties are no switching charges (Art. 2(36)) and stay lawful where they do not obstruct switching (Art. 23). For use in parallel, egress at cost (Art. 34(2)).".to_owned();
    all.push(clock(ClockKind::NoSwitchingCharges, NO_SWITCHING_CHARGES_FROM, "Switching charges are forbidden", "Art. 29(1)", detail));
    all
}

/// The day on which a notice of switching given on `from` has run: the contract's own notice where it is shorter than
/// the law's two months.
pub fn switching_notice_end(contract: &Contract, from: Date) -> Date {
    let longest = plus_months(from, NOTICE_MONTHS_MAX);
    match contract.notice_days {
        Some(days) => plus_days(from, i64::from(days)).min(longest),
        None => longest,
    }
}

/// What of the law can be said about switching charges on a day.
pub fn switching_charge_rule(day: Date) -> &'static str {
    if day >= NO_SWITCHING_CHARGES_FROM {
        "No switching charge may be imposed, egress included (Art. 29(1))."
    } else {
        "Switching charges are limited to the provider's direct costs until 12 January 2027 (Art. 29(2), (3)); none from then on (Art. 29(1))."
    }
}

/// A clause to ask for, because the contract lacks it or has a worse one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ask {
    /// The clause in a few words.
    pub clause: String,
    /// The article behind it, or `negotiation` where the law does not give it.
    pub basis: String,
    /// Why, for this contract.
    pub why: String,
}

/// Which clauses to ask for in a contract.
pub fn asks(contract: &Contract) -> Vec<Ask> {
    let mut all = Vec::new();
    let mut ask = |clause: &str, basis: &str, why: String| {
        all.push(Ask { clause: clause.to_owned(), basis: basis.to_owned(), why });
    };
    let covered = contract.data_act != Some(false);
    if covered {
        match contract.notice_days {
            Some(days) if Duration::days(i64::from(days)) > Duration::days(62) => ask(
                "Notice of switching of at most two months, apart from the term",
                "Art. 25(2)(d)",
                format!("The contract asks for {days} days."),
            ),
            None => {
                ask("Notice of switching of at most two months", "Art. 25(2)(d)", "No notice is on record: have it in writing.".to_owned())
            }
            Some(_) => {}
        }
        ask(
            "Transition within 30 days, retrieval for at least 30 days after, then certified erasure",
            "Art. 25(2)(a), (g), (h)",
            "These periods belong in the contract's text, with the list of exportable data (Art. 25(2)(e)).".to_owned(),
        );
        ask(
            "No switching charge, egress included; at cost where services are used in parallel",
            "Art. 29(1), 34(2)",
            "In force from 12 January 2027; ask for it from today.".to_owned(),
        );
    }
    match contract.early_termination {
        None => ask(
            "A written early-termination fee, falling with the remaining term",
            "Art. 29(4)",
            "None is on record; a provider must state it before signature.".to_owned(),
        ),
        Some(EarlyTermination::ShareOfRemaining(100)) => ask(
            "A proportionate early-termination fee: a falling share, not the whole remainder",
            "Art. 23; Art. 29(4)",
            "Leaving early costs the whole remaining commitment, which obstructs switching.".to_owned(),
        ),
        Some(_) => {}
    }
    if contract.divert_percent.unwrap_or(0) == 0 {
        ask(
            "A divert clause: spend on AI workloads placed elsewhere counts towards the commitment or reduces it",
            "negotiation",
            "Without it every token bought elsewhere is paid twice while the commitment runs.".to_owned(),
        );
    }
    if contract.auto_renew == Some(true) {
        ask("Renewal only by signature, or by month with the same discount", "negotiation", "It renews by itself.".to_owned());
    }
    all
}
