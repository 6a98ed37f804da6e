param location string = resourceGroup().location

resource plan 'Microsoft.Web/serverfarms@2023-12-01' = {
  name: 'plan'
  location: location
}

resource site 'Microsoft.Web/sites@2023-12-01' = {
  name: 'site'
  location: location
  properties: {
    serverFarmId: plan.id
  }
}

resource cosmos 'Microsoft.DocumentDB/databaseAccounts@2024-05-15' = {
  name: 'cosmos'
  location: location
}
