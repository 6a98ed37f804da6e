//! Kubernetes, Compose and Dockerfiles.

use freehold_estate::catalogue::Catalogue;
use freehold_estate::resource::Provider;

use super::{assert_clean, estate, find, known, lines};

#[test]
fn kubernetes_objects_and_signals() {
    let text = "# rendered
---
apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: shop
  annotations:
    service.beta.kubernetes.io/aws-load-balancer-type: nlb
    service.beta.kubernetes.io/aws-load-balancer-internal: \"true\"
spec:
  type: LoadBalancer
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: api}
spec:
  template:
    metadata:
      annotations:
        iam.gke.io/gcp-service-account: x
    spec:
      containers:
        - name: a
          image: 123456789012.dkr.ecr.eu-west-1.amazonaws.com/api:1
        - name: b
          image: 123456789012.dkr.ecr.eu-west-1.amazonaws.com/side:1
        - name: c
          image: nginx:1
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: fast
provisioner: ebs.csi.aws.com
---
apiVersion: v1
kind: List
items:
  - apiVersion: s3.services.k8s.aws/v1alpha1
    kind: Bucket
    metadata: {name: logs}
  - apiVersion: storage.cnrm.cloud.google.com/v1beta1
    kind: StorageBucket
    metadata: {name: logs2}
---
apiVersion: apiextensions.crossplane.io/v1
kind: Composition
metadata:
  name: comp
spec:
  resources:
    - name: db
      base:
        apiVersion: rds.aws.upbound.io/v1beta1
        kind: Instance
        spec:
          forProvider:
            engine: postgres
";
    let estate = estate(&[("k8s/all.yaml", text)]);
    assert_clean(&estate);
    assert_eq!(
        lines(&estate),
        [
            "k8s/all.yaml:3 Service/shop/web [core/Service]",
            "k8s/all.yaml:9 Service/shop/web [annotation:service.beta.kubernetes.io/aws] 90%",
            "k8s/all.yaml:14 Deployment/api [apps/Deployment]",
            "k8s/all.yaml:21 Deployment/api [annotation:iam.gke.io] 90%",
            "k8s/all.yaml:25 Deployment/api [image:dkr.ecr.amazonaws.com] 90%",
            "k8s/all.yaml:31 StorageClass/fast [storage.k8s.io/StorageClass]",
            "k8s/all.yaml:35 StorageClass/fast [provisioner:ebs.csi.aws.com] 90%",
            "k8s/all.yaml:40 Bucket/logs [s3.services.k8s.aws/Bucket]",
            "k8s/all.yaml:43 StorageBucket/logs2 [storage.cnrm.cloud.google.com/StorageBucket]",
            "k8s/all.yaml:47 Composition/comp [apiextensions.crossplane.io/Composition]",
            "k8s/all.yaml:55 Instance/? [rds.aws.upbound.io/Instance]",
        ]
    );
    assert_eq!(find(&estate, "Bucket/logs").provider, Provider::Aws);
    assert_eq!(known(&estate, "Instance/?", "spec.forProvider.engine"), Some("postgres"));
    assert_eq!(known(&estate, "Service/shop/web", "spec.type"), Some("LoadBalancer"));
}

#[test]
fn helm_templates_are_scanned() {
    let text = "{{- if .Values.on }}\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {{ .Release.Name }}\nspec:\n  x: {{ toYaml .Values.x | nindent 2 }}\n      image: \"public.ecr.aws/lambda/python:3\"\n{{- end }}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: plain\n";
    let estate = estate(&[("chart/templates/d.yaml", text)]);
    assert_eq!(
        lines(&estate),
        [
            "chart/templates/d.yaml:2 Deployment/{{ .Release.Name }} [apps/Deployment] 60%",
            "chart/templates/d.yaml:8 Deployment/{{ .Release.Name }} [image:public.ecr.aws/lambda/python] 60%",
            "chart/templates/d.yaml:11 ConfigMap/plain [core/ConfigMap]",
        ]
    );
    assert!(estate.read_partly[0].why.contains("helm template"));
}

#[test]
fn compose() {
    let text = "x-base: &base\n  image: 1.dkr.ecr.eu-west-1.amazonaws.com/app:1\nservices:\n  web:\n    <<: *base\n    depends_on: [db]\n    logging:\n      driver: awslogs\n  db:\n    image: postgres:16\n    environment:\n      POSTGRES_PASSWORD: hunter2\n";
    let estate = estate(&[("compose.yaml", text)]);
    assert_clean(&estate);
    assert_eq!(
        lines(&estate),
        [
            "compose.yaml:2 services.web [image:dkr.ecr.amazonaws.com] 90%",
            "compose.yaml:4 services.web [compose/service]",
            "compose.yaml:8 services.web [logging:awslogs] 90%",
            "compose.yaml:9 services.db [compose/service]",
        ]
    );
    assert_eq!(known(&estate, "services.db", "image"), Some("postgres:16"));
    assert!(!find(&estate, "services.db").attributes.keys().any(|key| key.contains("PASSWORD")));
}

#[test]
fn dockerfile() {
    let text = "ARG BASE=public.ecr.aws/lambda/python\nFROM --platform=$BUILDPLATFORM golang:1.23 AS build\nRUN go build\nFROM ${BASE}:3.12\nCOPY --from=build /x /x\nCOPY --from=public.ecr.aws/awsguru/aws-lambda-adapter:0.8.4 /a /a\nFROM build\nFROM scratch\nFROM $WHAT\n";
    let estate = estate(&[("Dockerfile", text)]);
    assert_eq!(
        lines(&estate),
        [
            "Dockerfile:2 build [image:docker.io/library/golang] 90%",
            "Dockerfile:4 stage-1 [image:public.ecr.aws/lambda/python] 90%",
            "Dockerfile:6 copy-from public.ecr.aws/awsguru/aws-lambda-adapter:0.8.4 [image:public.ecr.aws/awsguru/aws-lambda-adapter] 90%",
        ]
    );
    assert_eq!(estate.read_partly.len(), 1);
}

#[test]
fn objects_of_an_operator_have_the_attributes_of_their_service() {
    let text = "apiVersion: sql.cnrm.cloud.google.com/v1beta1
kind: SQLInstance
metadata: {name: a}
spec: {databaseVersion: POSTGRES_15}
---
apiVersion: rds.aws.upbound.io/v1beta1
kind: Instance
metadata: {name: b}
spec:
  forProvider: {engine: oracle-ee}
---
apiVersion: rds.services.k8s.aws/v1alpha1
kind: DBInstance
metadata: {name: c}
spec: {engine: mariadb}
";
    let estate = estate(&[("operators.yaml", text)]);
    assert_clean(&estate);
    assert_eq!(known(&estate, "SQLInstance/a", "databaseVersion"), Some("POSTGRES_15"));
    let rules: Vec<String> = estate.resources.iter().map(|resource| Catalogue::builtin().judge(resource).rule.to_string()).collect();
    assert_eq!(rules, ["gcp-sql?postgresql", "aws-rds?oracle", "aws-rds?mysql"]);
}
