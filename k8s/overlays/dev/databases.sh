#!/bin/bash
# Run once by the postgres image: a database and a role for each service, as in production. docker compose uses it too.
set -euo pipefail
for service in ingest profile segment recommend render; do
  psql --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
    --set service="$service" --set password="$SERVICES_PASSWORD" <<'SQL'
create role :"service" login password :'password';
create database :"service" owner :"service";
revoke connect on database :"service" from public;
SQL
done
