import boto3

queue = boto3.client("sqs")
model = boto3.client("bedrock-runtime")
