variable "name" {}
resource "aws_vpc" "main" { cidr_block = "10.0.0.0/16" }
resource "aws_subnet" "a" { vpc_id = aws_vpc.main.id }
resource "aws_security_group" "sg" { vpc_id = aws_vpc.main.id }
output "sg" { value = aws_security_group.sg.id }
