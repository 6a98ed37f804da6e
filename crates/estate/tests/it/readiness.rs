//! The questionnaire: complete for every provider, safe in both formats.

use freehold_estate::readiness::{questionnaire, to_html, to_markdown};

#[test]
fn every_provider_has_the_questions_and_the_big_three_have_facts() {
    for provider in ["aws", "azure", "google", "Example Cloud"] {
        let found = questionnaire(provider).expect("the data is sound");
        assert!(found.items.len() >= 20, "{provider}");
        let facts: usize = found.items.iter().map(|item| item.known.len()).sum();
        assert_eq!(facts >= 8, provider != "Example Cloud", "{provider} has {facts} facts");
        for item in &found.items {
            let question = &item.question;
            assert!(!question.articles.is_empty() && !question.why.is_empty() && !question.good.is_empty(), "{}", question.id);
            for fact in &item.known {
                assert!(fact.url.starts_with("https://") && fact.date.len() == 10, "{}", fact.text);
            }
        }
    }
}

#[test]
fn the_topics_asked_for_are_there() {
    let found = questionnaire("aws").expect("the data is sound");
    for id in ["export-apis", "formats", "unbundling", "switching-terms", "notice", "egress", "register"] {
        assert!(found.items.iter().any(|item| item.question.id == id), "{id}");
    }
    let register = found.items.iter().find(|item| item.question.id == "register").expect("asked above");
    assert!(register.question.articles.iter().any(|article| article.starts_with("26")));
}

#[test]
fn a_name_cannot_break_out_of_the_page() {
    let found = questionnaire("<script>alert(1)</script>|`x`").expect("the data is sound");
    assert!(!to_html(&found).contains("<script>alert"));
    assert!(!to_markdown(&found).contains("<script>"));
    insta::assert_snapshot!("readiness_google", to_markdown(&questionnaire("google").expect("the data is sound")));
}
