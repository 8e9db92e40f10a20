"""Long-running work that can be watched and cancelled, the same in every service.

The rooms are those of a capability: `model`, `ports`, `use_cases`, `sql`, `wire`, `api`, `jobs`. A service
gives its schema the table (`sql.statements`), serves `api.OperationServicer`, runs its work inside
`Operations.run`, and looks for work whose process is gone (`jobs.SilenceJob`).
"""
