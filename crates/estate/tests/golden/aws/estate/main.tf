terraform {
  required_providers { aws = { source = "hashicorp/aws" } }
}
module "net" {
  source = "./modules/net"
  name   = "shop"
}
module "missing" { source = "terraform-aws-modules/vpc/aws" }
resource "aws_db_instance" "orders" {
  engine            = "postgres"
  allocated_storage = 500
  kms_key_id        = aws_kms_key.data.arn
  vpc_security_group_ids = [module.net.sg]
}
resource "aws_kms_key" "data" { description = "orders" }
resource "aws_s3_bucket" "media" { bucket = "media" }
resource "aws_s3_bucket_policy" "media" {
  bucket = aws_s3_bucket.media.id
  policy = "{}"
}
resource "aws_lambda_function" "thumb" {
  function_name = "thumb"
  role          = aws_iam_role.thumb.arn
  environment { variables = { BUCKET = aws_s3_bucket.media.id, TABLE = aws_dynamodb_table.sessions.name } }
}
resource "aws_iam_role" "thumb" { name = "thumb" }
resource "aws_dynamodb_table" "sessions" { name = "s" }
resource "aws_cognito_user_pool" "users" { name = "users" }
resource "aws_sqs_queue" "jobs" { count = 3 }
resource "aws_instance" "web" { count = 2 }
resource "aws_bedrockagent_agent" "help" { agent_name = "x" }
resource "aws_ecr_repository" "app" { name = "app" }
resource "aws_eks_cluster" "k" { name = "k" }
resource "aws_madeup_thing" "x" {}
data "aws_ami" "u" {}
resource "random_id" "r" { byte_length = 4 }
