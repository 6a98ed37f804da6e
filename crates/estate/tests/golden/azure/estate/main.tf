resource "azurerm_resource_group" "shop" {
  name     = "shop"
  location = "westeurope"
}

resource "azurerm_storage_account" "media" {
  name                = "media"
  resource_group_name = azurerm_resource_group.shop.name
}

resource "azurerm_postgresql_flexible_server" "orders" {
  name                = "orders"
  resource_group_name = azurerm_resource_group.shop.name
  storage_mb          = 131072
}

resource "azurerm_linux_virtual_machine" "web" {
  count               = 2
  name                = "web-${count.index}"
  resource_group_name = azurerm_resource_group.shop.name
}

resource "azurerm_key_vault_key" "data" {
  name = "data"
}

resource "azurerm_logic_app_workflow" "billing" {
  name = "billing"
}

resource "azurerm_servicebus_queue" "jobs" {
  name = "jobs"
}
