"""Terraform in the style of published modules: many variables with descriptions, feature switches with count and
for_each, dynamic blocks, heredocs, tags merged from locals, root modules that call them. The same lines every time."""

import pathlib
import random

SERVICES = [
    ("vpc", "aws", ["aws_vpc", "aws_subnet", "aws_route_table", "aws_internet_gateway", "aws_nat_gateway", "aws_security_group"]),
    ("database", "aws", ["aws_db_instance", "aws_db_subnet_group", "aws_db_parameter_group", "aws_kms_key", "aws_secretsmanager_secret"]),
    ("bucket", "aws", ["aws_s3_bucket", "aws_s3_bucket_policy", "aws_s3_bucket_versioning", "aws_s3_bucket_lifecycle_configuration"]),
    ("function", "aws", ["aws_lambda_function", "aws_iam_role", "aws_iam_role_policy", "aws_cloudwatch_log_group", "aws_sqs_queue"]),
    ("table", "aws", ["aws_dynamodb_table", "aws_appautoscaling_target", "aws_appautoscaling_policy"]),
    ("cluster", "aws", ["aws_eks_cluster", "aws_eks_node_group", "aws_launch_template", "aws_autoscaling_group", "aws_cognito_user_pool"]),
    ("storage", "azurerm", ["azurerm_resource_group", "azurerm_storage_account", "azurerm_storage_container", "azurerm_private_endpoint"]),
    ("postgres", "azurerm", ["azurerm_postgresql_flexible_server", "azurerm_postgresql_flexible_server_database", "azurerm_key_vault"]),
    ("network", "azurerm", ["azurerm_virtual_network", "azurerm_subnet", "azurerm_network_security_group", "azurerm_public_ip"]),
    ("sql", "google", ["google_sql_database_instance", "google_sql_database", "google_sql_user", "google_secret_manager_secret"]),
    ("gke", "google", ["google_container_cluster", "google_container_node_pool", "google_service_account", "google_compute_network"]),
    ("warehouse", "google", ["google_bigquery_dataset", "google_bigquery_table", "google_pubsub_topic", "google_storage_bucket"]),
]

ATTRIBUTES = ["name", "description", "engine", "engine_version", "instance_class", "allocated_storage", "location", "region", "sku_name", "retention_in_days", "port", "protocol"]


def tree(folder, lines):
    """Writes at least so many lines under a folder; returns its measure."""
    folder = pathlib.Path(folder)
    chance = random.Random(20260101)
    written, number = 0, 0
    while written < lines:
        service = SERVICES[number % len(SERVICES)]
        written += module(folder / "modules" / f"{service[0]}-{number:04}", service, chance)
        if number % 6 == 5:
            written += stack(folder / "live" / f"stack-{number:04}", number, chance)
        number += 1
    return measure(folder)


def measure(folder):
    files = [path for path in pathlib.Path(folder).rglob("*.tf")]
    texts = [path.read_bytes() for path in files]
    return {"files": len(files), "bytes": sum(map(len, texts)), "lines": sum(text.count(b"\n") for text in texts)}


def put(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return len(lines)


def module(folder, service, chance):
    name, provider, kinds = service
    variables = [f"{attribute}_{index}" for index in range(4) for attribute in chance.sample(ATTRIBUTES, 7)]
    total = put(folder / "versions.tf", versions(provider))
    total += put(folder / "variables.tf", sum((variable(item, chance) for item in ["create", "name", "tags", "rules", *variables]), []))
    total += put(folder / "main.tf", main(name, kinds, variables, chance))
    total += put(folder / "outputs.tf", sum((result(kind) for kind in kinds), []))
    return total


def versions(provider):
    source = {"aws": "hashicorp/aws", "azurerm": "hashicorp/azurerm", "google": "hashicorp/google"}[provider]
    return ["terraform {", '  required_version = ">= 1.5"', "", "  required_providers {", f"    {provider} = {{", f'      source  = "{source}"', '      version = ">= 5.0"', "    }", "  }", "}"]


def variable(name, chance):
    words = name.replace("_", " ")
    plain = {"create": ("bool", "true"), "name": ("string", '""'), "tags": ("map(string)", "{}"), "rules": ("any", "[]")}
    numbers = {"allocated_storage", "retention_in_days", "port"}
    base = name.rsplit("_", 1)[0]
    typed = ("number", str(chance.randrange(1, 400))) if base in numbers else ("string", chance.choice(["null", '"standard"', '"eu-central-1"', '"tcp"']))
    kind, default = plain.get(name, typed)
    lines = [f'variable "{name}" {{', f'  description = "Controls {words} of the resources; see the README for the values that make sense together"', f"  type        = {kind}", f"  default     = {default}"]
    if chance.random() < 0.1:
        lines += ["", "  validation {", f'    condition     = var.{name} != ""', f'    error_message = "The value of {name} must not be empty."', "  }"]
    return [*lines, "}", ""]


def main(name, kinds, variables, chance):
    lines = ["locals {", "  create = var.create && length(var.name) > 0", f'  name   = "${{var.name}}-{name}"', "  tags   = merge(var.tags, { Terraform = \"true\", Module = local.name })", "}", ""]
    for index in range(3):
        for position, kind in enumerate(kinds):
            lines += resource(kind, f"this_{index}" if index else "this", kinds[position - 1] if position else None, variables, chance)
    return lines


def resource(kind, label, before, variables, chance):
    lines = ["#" * 80, f"# {kind.replace('_', ' ').title()}", "#" * 80, "", f'resource "{kind}" "{label}" {{', "  count = local.create ? 1 : 0", ""]
    for item in {item.rsplit("_", 1)[0]: item for item in chance.sample(variables, len(variables)) if not (kind == "aws_db_instance" and item.startswith(("engine_", "allocated")))}.values():
        forms = [f"var.{item}", f"try(var.{item}, null)", f"coalesce(var.{item}, local.name)", f'lookup(var.tags, "{item}", var.{item})']
        lines.append(f"  {item.rsplit('_', 1)[0]:<24} = {chance.choice(forms)}")
    if before:
        lines.append(f"  {'depends_on_id':<24} = try({before}.this[0].id, null)")
    if kind == "aws_db_instance":
        lines += ['  engine                   = "postgres"', "  allocated_storage        = 100"]
    lines += ["", "  dynamic \"rule\" {", "    for_each = { for rule in var.rules : rule.name => rule if try(rule.enabled, true) }", "", "    content {", "      name     = rule.key", "      priority = try(rule.value.priority, null)", "", "      dynamic \"condition\" {", "        for_each = try(rule.value.conditions, [])", "", "        content {", "          field  = condition.value.field", "          values = toset(condition.value.values)", "        }", "      }", "    }", "  }"]
    if "policy" in kind or chance.random() < 0.15:
        lines += ["", "  policy = <<-EOT", "    {", '      "Version": "2012-10-17",', '      "Statement": [{', '        "Effect": "Allow",', '        "Action": ["*:Describe*", "*:List*"],', f'        "Resource": "${{local.name}}/{label}/*"', "      }]", "    }", "  EOT"]
    lines += ["", "  timeouts {", "    create = \"30m\"", "    delete = \"30m\"", "  }", "", "  lifecycle {", "    ignore_changes = [tags[\"LastScanned\"]]", "  }", "", "  tags = merge(local.tags, {", f'    Name = format("%s-%s", local.name, "{label}")', "  })", "}", ""]
    return lines


def result(kind):
    short = kind.split("_", 1)[1]
    words = short.replace("_", " ")
    return [f'output "{short}_id" {{', f'  description = "The ID of the {words}"', f"  value       = try({kind}.this[0].id, null)", "}", ""]


def stack(folder, number, chance):
    lines = ["provider \"aws\" {", "  region = \"eu-central-1\"", "}", ""]
    for offset in range(6):
        service = SERVICES[(number - 5 + offset) % len(SERVICES)]
        lines += [f'module "{service[0]}" {{', f'  source = "../../modules/{service[0]}-{number - 5 + offset:04}"', "", f'  name   = "stack-{number}"', "  create = true", "", "  rules = [", *(f'    {{ name = "rule-{rule}", priority = {chance.randrange(100, 900)}, enabled = {str(chance.random() < 0.8).lower()} }},' for rule in range(4)), "  ]", "", "  tags = {", f'    Stack = "stack-{number}"', "  }", "}", ""]
    return put(folder / "main.tf", lines)
