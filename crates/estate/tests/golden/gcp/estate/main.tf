resource "google_sql_database_instance" "orders" {
  name             = "orders"
  database_version = "POSTGRES_16"
  settings {
    tier      = "db-custom-2-8192"
    disk_size = 200
  }
}

resource "google_storage_bucket" "media" {
  name     = "media"
  location = "EU"
}

resource "google_bigquery_dataset" "facts" {
  dataset_id = "facts"
}

resource "google_bigquery_table" "sales" {
  dataset_id = google_bigquery_dataset.facts.dataset_id
  table_id   = "sales"
}

resource "google_pubsub_topic" "events" {
  name = "events"
}

resource "google_cloud_run_v2_service" "shop" {
  name     = "shop"
  location = "europe-west3"
  template {
    containers {
      image = "europe-docker.pkg.dev/p/r/shop"
      env {
        name  = "TOPIC"
        value = google_pubsub_topic.events.id
      }
    }
  }
}

resource "google_kms_crypto_key" "data" {
  name = "data"
}

resource "google_project_iam_member" "shop" {
  role = "roles/pubsub.publisher"
}

resource "google_vertex_ai_endpoint" "help" {
  name = "help"
}
