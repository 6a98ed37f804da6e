"""People in Chromium against a running service in preview: the waiting list, invites, a team and its roles, the trail."""

import os

from page import BASE, Page, call, mail_link, start
from selenium.webdriver.common.by import By

OPERATOR_KEY = os.environ["FREEHOLD_TEST_OPERATOR_KEY"]
PASSWORD = "correct horse"
ROOT = "root@example.org"
ADA = "ada@example.org"
BOB = "bob@example.org"
CAROL = "carol@example.org"
DAN = "dan@example.org"


def wait(page):
    """A stranger comes onto the waiting list."""
    page.open("/")
    page.press("Join the waiting list")
    page.says("This service is in preview")
    page.write("E-mail", ADA)
    page.write("Password", PASSWORD)
    page.write("Team or company", "engines")
    page.check()
    page.press("Join")
    page.says("Look into your mail")
    page.driver.get(mail_link("verify"))
    page.write("Password", PASSWORD)
    page.press("Confirm")
    page.says("You are on the list")
    page.check()
    page.with_password(ADA, PASSWORD)
    page.says("You are on the list")
    page.check()
    for path in ("/keys", "/usage", "/limits", "/billing", "/team", "/trail", "/account", "/prices", "/playground"):
        page.open(path)
        page.check()
    page.sign_out()


def people(page):
    """Somebody who manages the service and is a member too, and somebody of another team."""
    for body in (
        {"email": ROOT, "name": "Root", "password": PASSWORD, "operator": True, "tenant": "main", "role": "owner"},
        {"email": CAROL, "name": "Carol", "password": PASSWORD, "tenant": "main", "role": "billing"},
    ):
        status, answer = call("/api/v1/users", OPERATOR_KEY, body)
        assert status == 201, answer


def operate(page):
    """An operator who is a member of a tenant has the pages of both."""
    page.with_password(ROOT, PASSWORD)
    page.says("Welcome to main")
    for path in ("/", "/keys", "/usage", "/limits", "/billing", "/team", "/trail", "/playground", "/account", "/prices"):
        page.open(path)
        page.check()
    for path in ("/operator", "/operator/models", "/operator/tenants", "/operator/billing", "/operator/admission", "/operator/revenue"):
        page.open(path)
        page.check()


def admit(page):
    page.open("/operator/admission")
    page.says("Signing up is preview")
    assert page.row(ADA)["Tenant"] == "engines"
    page.press("Make an invite")
    page.write("E-mail", "dora@example.org")
    page.write("Uses", "3")
    page.press("Make the invite")
    page.says("1 for one address")
    page.complaints(["/api/v1/invites"])
    page.check()
    page.write("Uses", "1")
    page.write("Note", "from the fair")
    page.press("Make the invite")
    assert page.secret().startswith(f"{BASE}/#/invite/")
    page.check()
    page.press("Done")
    mail_link("invite", "dora@example.org")
    page.press("Withdraw the invite of dora@example.org")
    page.press("Withdraw")
    page.says("No invites")
    page.press("Make an invite")
    page.write("Note", "friends")
    page.press("Make the invite")
    link = page.secret()
    page.press("Done")
    assert page.row("friends")["Used"] == "0 of 1"
    page.check()
    page.press(f"Let {ADA} in")
    page.says("Nobody is waiting")
    page.check()
    page.open("/operator/tenants")
    page.press("engines")
    page.says(ADA)
    page.check()
    page.sign_out()
    return link


def with_invite(page, link):
    """Whoever has the link skips the list."""
    page.driver.get(link)
    page.says("You are invited")
    page.check()
    page.press("I am new: sign up")
    page.write("E-mail", DAN)
    page.write("Password", PASSWORD)
    page.write("Team or company", "looms")
    page.press("Sign up")
    page.says("Look into your mail")
    page.driver.get(mail_link("verify", DAN))
    page.write("Password", PASSWORD)
    page.press("Confirm")
    page.says("Your address is confirmed")
    page.with_password(DAN, PASSWORD)
    page.says("Welcome to looms")
    page.sign_out()
    page.driver.get(link)
    page.press("I have an account: accept")
    page.says("That did not work")
    page.complaints(["/api/v1/signup/verify"])
    page.check()


def invite(page):
    page.with_password(ADA, PASSWORD)
    page.says("Welcome to engines")
    page.open("/team")
    for address, role in ((BOB, "Developer: keys, models and usage"), (CAROL, "Viewer: reads, and changes nothing"), (DAN, "Billing: usage, invoices, credit and limits"), ("eve@example.org", "Owner: everything, also the team")):
        page.press("Invite someone")
        page.write("E-mail", address)
        page.choose("Role", role)
        page.press("Invite")
        page.says(f"{address} is invited and gets a mail.")
        page.settle()
    assert page.row(BOB)["Role"] == "developer"
    page.check()
    page.press("Withdraw the invitation of eve@example.org")
    page.press("Withdraw")
    page.until(lambda: "eve@example.org" not in [cell.text for cell in page.driver.find_elements(By.CSS_SELECTOR, "tbody th")], "it is withdrawn")
    page.sign_out()


def accept(page):
    """Once as somebody new, once with an account."""
    page.driver.get(mail_link("invite", BOB))
    page.press("I am new: sign up")
    page.write("Your name", "Bob")
    page.write("E-mail", BOB)
    page.write("Password", PASSWORD)
    page.press("Sign up")
    # Who has the link has read the mail: the address is proved.
    page.says("Your account is ready")
    page.check()
    page.with_password(BOB, PASSWORD)
    page.says("Welcome to engines")
    page.open("/team")
    assert not page.driver.find_elements(By.CSS_SELECTOR, "main select"), "a developer changes no roles"
    page.check()
    page.open("/limits")
    page.says("You can read the limits")
    page.check()
    page.sign_out()
    # The operator made this account: nobody has proved yet whose the address is.
    page.driver.get(mail_link("invite", CAROL))
    page.press("I have an account: accept")
    page.says("Sign up with the invitation instead")
    page.complaints(["/api/v1/signup/verify"])
    page.check()
    page.driver.get(mail_link("invite", DAN))
    page.press("I have an account: accept")
    page.says("Sign in, and the first page")
    page.check()
    page.with_password(DAN, PASSWORD)
    page.says("Welcome to looms")
    page.driver.find_element(By.CSS_SELECTOR, ".side select").send_keys("engines")
    page.says("Welcome to engines")
    page.open("/team")
    page.says(BOB)
    page.check()
    page.sign_out()


def roles(page):
    """Roles hold at once; the last owner stays."""
    page.with_password(ADA, PASSWORD)
    page.open("/team")
    choice = lambda address: page.driver.find_element(By.CSS_SELECTOR, f"select[aria-label='Role of {address}']")
    choice(BOB).send_keys("Viewer")
    page.says(f"{BOB} is now viewer.")
    page.settle()
    choice(ADA).send_keys("Viewer")
    page.says("owner")
    page.until(lambda: choice(ADA).get_attribute("value") == "owner", "the owner stays one")
    page.complaints(["/api/v1/users"])
    page.check()
    page.sign_out()
    page.with_password(BOB, PASSWORD)
    page.open("/keys")
    assert not [node for node in page.driver.find_elements(By.CSS_SELECTOR, "main button") if node.text == "Create a key"], "a viewer makes no keys"
    page.check()
    page.open("/playground")
    page.says("Your role does not use models")
    page.check()
    page.sign_out()
    page.with_password(ADA, PASSWORD)
    page.open("/team")
    page.press(f"Remove {BOB}")
    page.says("can no longer act for engines")
    page.check()
    page.press("Remove")
    members = lambda: [row.text for row in page.driver.find_elements(By.CSS_SELECTOR, "table[aria-label=Members] tbody tr")]
    page.until(lambda: members() and BOB not in "".join(members()), "he is gone")


def trail(page):
    page.open("/trail")
    assert page.row("member removed")["By"] == ADA
    page.check()
    page.press("Details of member removed")
    page.says('"specversion": "1.0"')
    page.check()
    page.press("Close")
    page.sign_out()
    page.with_password(BOB, PASSWORD)
    page.says("You belong to no tenant yet")
    page.check()
    page.sign_out()
    page.with_password(ROOT, PASSWORD)
    page.open("/trail")
    page.choose("Of", "engines")
    page.row("member removed")
    page.check()


driver = start()
try:
    tab = Page(driver)
    wait(tab)
    people(tab)
    operate(tab)
    link = admit(tab)
    with_invite(tab, link)
    invite(tab)
    accept(tab)
    roles(tab)
    trail(tab)
    tab.complaints()
finally:
    driver.quit()
print("ok")
