"""Money in Chromium against a running service: prices, credit, vouchers, limits that refuse, invoices, credit notes,
revenue, as the operator and the customer see them."""

import datetime
import os
import sqlite3

from page import Page, call, downloaded, start
from selenium.webdriver.common.by import By

KEY = os.environ["FREEHOLD_TEST_KEY"]
OPERATOR_KEY = os.environ["FREEHOLD_TEST_OPERATOR_KEY"]
MODEL = os.environ["FREEHOLD_TEST_MODEL"]
OWNER = "owner@example.org"
PASSWORD = "correct horse"


def chat(tokens, key=KEY):
    """Uses so many tokens of answer: the status, and the code of a refusal."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Tell a story."}], "max_tokens": tokens, "temperature": 0, "logit_bias": {"2": -100, "0": -100}}
    status, answer = call("/v1/chat/completions", key, body)
    return status, (answer.get("error") or {}).get("code")


def prices(page):
    """A cent for each token of an answer; later half of it."""
    page.open("/prices")
    page.says("No prices are published")
    page.check()
    page.press("Publish prices")
    lines = "dialog [data-line] [data-kind={}]"
    for kind, text in (("input", "0"), ("cached", "0"), ("output", "much")):
        page.driver.find_element(By.CSS_SELECTOR, lines.format(kind)).send_keys(text)
    page.press("Publish")
    page.says("Output of * is an amount")
    page.check()
    box = page.driver.find_element(By.CSS_SELECTOR, lines.format("output"))
    box.clear()
    box.send_keys("10000")
    page.press("Publish")
    page.says("holds now")
    assert page.row("Every other model")["Output"] == "€10,000.00"
    page.press("Publish prices")
    box = page.driver.find_element(By.CSS_SELECTOR, lines.format("output"))
    box.clear()
    box.send_keys("5000")
    page.driver.execute_script("arguments[0].value = '2099-01-01T00:00'", page.field("Holds from"))
    page.press("Publish")
    page.says("soon")
    page.press("Publish prices")
    page.press("Publish")
    page.says("That did not work")
    page.complaints(["/api/v1/prices"])
    page.press("Cancel")
    page.check()


def credit(page):
    """A tenant that pays before gets credit, and one that pays after a limit."""
    page.open("/operator/tenants")
    page.press("main")
    page.says("Members")
    page.check()
    page.press("Terms")
    page.choose("It pays", "Before: with credit")
    page.press("Save")
    page.says("prepaid")
    assert chat(1) == (402, "insufficient_quota")
    page.press("Give credit")
    page.write("Amount (EUR)", "-3")
    page.press("Go on")
    page.says("The amount is more than zero")
    page.write("Amount (EUR)", "2")
    page.choose("What it is", "Somebody paid for it")
    page.write("Note", "transfer of 2 May")
    page.check()
    page.press("Go on")
    page.says("Give €2.00 to main?")
    page.check()
    page.press("Give the credit")
    page.says("transfer of 2 May")
    assert page.figure("Available")[0] == "€2.00"
    page.check()
    assert chat(10) == (200, None)
    page.driver.refresh()
    page.settle()
    assert page.figure("Balance")[1] == "€1.90", page.figure("Balance")


def voucher(page):
    page.open("/operator/billing")
    page.says("No vouchers")
    page.press("Make a voucher")
    page.write("Amount for each use (EUR)", "25")
    page.write("Uses", "2")
    page.write("Note", "conference")
    page.press("Go on")
    page.says("it costs you up to €50.00")
    page.press("Make the voucher")
    code = page.secret()
    page.check()
    page.press("Done")
    row = page.row("conference")
    assert row["Used"] == "0 of 2" and code not in page.driver.page_source, row
    return code


def invite_owner(page):
    """The operator makes the person who looks from the other side."""
    status, answer = call("/api/v1/users", OPERATOR_KEY, {"email": OWNER, "password": PASSWORD, "tenant": "main", "role": "owner"})
    assert status == 201, answer


def redeem(page, code):
    page.open("/billing")
    page.press("Redeem a voucher")
    page.write("Code", "NO-SUCH-CODE")
    page.press("Redeem")
    page.says("There is no such voucher")
    page.complaints(["/api/v1/vouchers/redeem"])
    page.check()
    page.write("Code", code.lower().replace("-", " "))
    page.press("Redeem")
    page.says("€26.90")
    assert page.row("Voucher")["Amount"] == "€25.00"
    page.press("Redeem a voucher")
    page.write("Code", code)
    page.press("Redeem")
    page.says("has redeemed this voucher already")
    page.complaints(["/api/v1/vouchers/redeem"])
    page.press("Cancel")
    page.check()


def limits(page):
    """What is set refuses, and what is taken back does not."""
    page.open("/limits")
    page.write("Budget a day (EUR)", "a lot")
    page.press("Save")
    page.says("Budget a day is an amount such as 25 or 0.50.")
    page.write("Budget a day (EUR)", "0.15")
    page.write("Alert at percent of a budget", "50, 100")
    page.write("Webhook", "http://127.0.0.1:9/alerts")
    page.press("Save")
    page.says("Used")
    page.says("€0.10 of €0.15")
    page.check()
    assert chat(10)[1] == "insufficient_quota"
    assert chat(5) == (200, None)
    page.write("Budget a day (EUR)", "")
    page.write("Webhook", "")
    page.write("Requests a minute", "1")
    page.press("Save")
    page.says("Requests in the last minute")
    page.check()
    assert [chat(1), chat(1)] == [(200, None), (429, "rate_limit_exceeded")]
    name = call("/api/v1/keys?tenant=main", OPERATOR_KEY)[1]["data"][0]["name"]
    page.choose("Limits of", f"Key {name}")
    page.says(f"Limits of the key {name}")
    page.write("Requests at the same time", "7")
    page.press("Save")
    page.says("0 of 7")
    page.write("Requests at the same time", "")
    page.press("Save")
    page.until(lambda: "of 7" not in page.text(), "it is taken back")
    page.choose("Limits of", "All of main")
    page.says("Limits of main")
    page.write("Requests a minute", "")
    page.press("Save")
    page.until(lambda: "Requests in the last minute" not in page.text(), "it is taken back")
    assert chat(1) == (200, None)


def late(page, name, tokens):
    """A tenant that pays after, by invoice, up to a limit, and uses something."""
    page.open("/operator/tenants")
    page.press("Create a tenant")
    page.write("Name", name)
    page.press("Create the tenant")
    page.press(name)
    page.says(f"Limits of {name}")
    page.press("Terms")
    page.choose("It pays", "After: by invoice")
    page.write("Credit limit (EUR)", "0.3")
    page.check()
    page.press("Save")
    page.says("what may be owed")
    page.write("Requests at the same time", "2")
    page.press("Save")
    page.says("0 of 2")
    page.check()
    _, key = call("/api/v1/keys", OPERATOR_KEY, {"name": "backend", "tenant": name})
    assert chat(tokens, key["secret"]) == (200, None)
    assert chat(40, key["secret"]) == (402, "insufficient_quota"), "more than it may owe"


def let_a_month_pass():
    """What was used today was used in the middle of the last month: nobody waits for the end of this one."""
    first = datetime.datetime.now(datetime.UTC).date().replace(day=1)
    middle = ((first - datetime.timedelta(days=1)).replace(day=15) - datetime.date(1970, 1, 1)).days
    connection = sqlite3.connect(os.environ["FREEHOLD_TEST_DB"], timeout=30)
    with connection:
        connection.execute("UPDATE usage_daily SET day = ?", (middle,))
    connection.close()


def run_month(page):
    """The number of each tenant's invoice."""
    page.open("/operator/billing")
    page.says("No invoices yet")
    page.check()
    page.press("Make the invoices")
    page.says("nothing is billed twice")
    page.check()
    page.find("button", "Make the invoices").click()
    page.says("3 made: INV-")
    page.press("Done")
    page.press("Make the invoices")
    page.find("button", "Make the invoices").click()
    page.says("3 had been made before")
    page.press("Done")
    page.check()
    return {name: page.row(name)["Number"] for name in ("main", "late", "lost")}


def note_payment(page, number):
    page.open("/operator/billing")
    assert page.row(number)["State"] == "to be paid"
    page.press(f"Note that {number} is paid")
    page.says("You have received €0.20")
    page.check()
    page.press("It is paid")
    page.until(lambda: page.row(number)["State"] == "paid", "it is paid")
    page.check()


def credit_note(page, number):
    """Part of an invoice that was paid goes back; of one that was not, all."""
    page.open("/operator/billing")
    page.press(number)
    page.says(f"Invoice {number}")
    page.check()
    page.press("Credit note")
    page.write("Amount (EUR)", "1000")
    page.write("Reason", "a worker was slow")
    page.press("Go on")
    page.press("Make the credit note")
    page.says("That did not work")
    page.complaints(["/credit-note"])
    page.check()
    page.press("Cancel")
    page.write("Amount (EUR)", "0.06")
    page.press("Go on")
    page.says("It costs you €0.06")
    page.press("Make the credit note")
    page.until(lambda: not page.driver.find_elements(By.CSS_SELECTOR, "dialog"), "it is made")
    page.press("All invoices")
    note = page.row("credit note")
    assert note["Total"] == "-€0.06" or note["Total"] == "€0.06", note
    page.press(note["Number"])
    page.says(f"Credit note {note['Number']}")
    page.check()


def write_off(page, number):
    page.open("/operator/billing")
    page.press(number)
    page.press("Credit note")
    assert page.field("Amount (EUR)").get_attribute("readonly")
    page.write("Reason", "it is gone")
    page.press("Go on")
    page.says("It costs you €0.10")
    page.press("Make the credit note")
    page.says("credited")
    page.check()


def limits_of_a_key(page):
    """The operator limits a key of another tenant, and takes it back."""
    page.open("/operator/tenants")
    page.press("late")
    page.choose("Limits of", "Key backend")
    page.says("Limits of the key backend")
    page.says("The limits of late hold as well.")
    page.write("Requests at the same time", "3")
    page.write("Budget a day (EUR)", "7")
    page.press("Save")
    page.says("0 of 3")
    page.check()
    key = next(one["id"] for one in call("/api/v1/keys?tenant=late", OPERATOR_KEY)[1]["data"] if one["name"] == "backend")
    own = call(f"/api/v1/limits?tenant=late&key={key}", OPERATOR_KEY)[1]
    assert (own["parallel"], own["budget_day"]) == (3, "7000000000"), own
    page.choose("Limits of", "All of late")
    page.says("Across all of its keys.")
    assert call("/api/v1/limits?tenant=late", OPERATOR_KEY)[1]["parallel"] == 2


def taxes(page):
    """A tax for all, another for one tenant, and the receipt of a payment for credit."""
    page.open("/operator/billing")
    page.says("The service makes those of")
    assert page.row("an operator")["State"] == "done"
    page.says("No tax. Nothing is added to prices.")
    page.press("Change the tax for all tenants")
    page.choose("What tenants buy is", "Taxed")
    page.check()
    page.press("Save")
    page.says("`taxed` takes a rate")
    page.complaints(["/api/v1/tax"])
    page.write("Rate (percent)", "8.875")
    page.write("Name of the tax", "Sales tax")
    page.press("Save")
    page.says("Sales tax 8.875 %. It is added")
    page.check()
    page.open("/operator/tenants")
    page.press("main")
    page.says("Sales tax 8.875 %, as for all tenants.")
    page.press("Give credit")
    page.write("Amount (EUR)", "10")
    page.choose("What it is", "Somebody paid for it")
    page.press("Go on")
    page.says("You have received this money and Sales tax 8.875 % on it")
    page.check()
    page.press("Give the credit")
    page.until(lambda: not page.driver.find_elements(By.CSS_SELECTOR, "dialog"), "it is given")
    assert page.row("receipt")["Total"] == "€10.8875"
    page.press("Change the tax of main")
    page.choose("What it buys is", "Reverse charge")
    page.press("Save")
    page.says("takes the tenant's tax id")
    page.complaints(["/api/v1/tax"])
    page.check()
    page.write("Tax id of the tenant", "DE123456789")
    page.write("Legal name and address", "Main GmbH\nHohe Straße 1\n50667 Köln")
    page.press("Save")
    page.says("VAT: reverse charge.")
    page.says("50667 Köln")
    page.check()


def receipt(page):
    """The receipt as the tenant sees it."""
    page.open("/billing")
    page.says("on what is due, VAT: reverse charge.")
    page.press(page.row("receipt")["Number"])
    page.says("Receipt TOP-")
    assert page.figure("Paid")[1] == "€10.8875" and page.figure("Sales tax 8.875 %")[1] == "€0.8875"
    page.says("Sales tax 8.875 % on €10.00")
    page.check()


def as_customer(page, number):
    """The invoice as its tenant sees it: as a page, as HTML and as PDF; and what became of the account."""
    page.open("/billing")
    assert page.row("Credit note")["Amount"] == "€0.06"
    assert page.row(number)["State"] == "paid", page.row(number)
    page.check()
    page.press(number)
    page.says(f"Invoice {number}")
    assert page.figure("Total")[1] == "€0.17", page.figure("Total")
    page.check()
    page.press("PDF")
    assert downloaded(f"{number}.pdf").startswith(b"%PDF-")
    page.press("HTML")
    assert "0.17" in downloaded(f"{number}.html").decode()
    page.press("All invoices")
    page.open("/usage?days=90")
    assert page.figure("Spend")[1] == "€0.17", page.figure("Spend")
    page.check()
    page.choose("Split by", "Key")
    page.says("Spend by day and key")
    page.press("CSV")
    month = page.field("Month").get_attribute("value")
    assert b"BilledCost" in downloaded(f"focus-{month}.csv")
    page.open("/prices")
    page.check()


def revenue(page):
    page.open("/operator/revenue?days=90")
    page.says("Revenue by day and tenant")
    assert page.figure("Revenue")[1] == "€0.47", page.figure("Revenue")
    page.check()
    page.choose("Split by", "Model")
    page.says("Revenue by day and model")
    page.check()


driver = start()
try:
    tab = Page(driver)
    tab.with_key(OPERATOR_KEY)
    prices(tab)
    credit(tab)
    code = voucher(tab)
    late(tab, "late", 20)
    late(tab, "lost", 10)
    invite_owner(tab)
    tab.complaints()
    tab.sign_out()
    tab.with_password(OWNER, PASSWORD)
    redeem(tab, code)
    limits(tab)
    tab.sign_out()
    let_a_month_pass()
    tab.with_key(OPERATOR_KEY)
    numbers = run_month(tab)
    note_payment(tab, numbers["late"])
    credit_note(tab, numbers["main"])
    write_off(tab, numbers["lost"])
    revenue(tab)
    limits_of_a_key(tab)
    tab.sign_out()
    tab.with_password(OWNER, PASSWORD)
    as_customer(tab, numbers["main"])
    tab.complaints()
    tab.sign_out()
    tab.with_key(OPERATOR_KEY)
    taxes(tab)
    tab.sign_out()
    tab.with_password(OWNER, PASSWORD)
    receipt(tab)
    tab.complaints()
finally:
    driver.quit()
print("ok")
