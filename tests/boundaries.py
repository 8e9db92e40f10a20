"""A contract for import-linter: a capability is used by others through its use cases or its model only.

It names no capability: a new one is checked from its first import on.
"""

import grimp
from importlinter import Contract, ContractCheck, fields, output

# What a service has beside its capabilities.
_OF_SERVICE = frozenset({"__main__", "app", "settings", "model", "migrations"})
# The composition roots know everything: a service's, and that of a process of its own, as training's is.
_ROOT, _PROCESS = "app", "__main__"


class DoorsContract(Contract):
    """Between the capabilities of a service, imports lead to the modules named in `doors`."""

    services = fields.StringField()
    doors = fields.SetField(subfield=fields.StringField())

    def check(self, graph: grimp.ImportGraph, verbose: bool) -> ContractCheck:
        """Look at every import whose both ends are capabilities of one service."""
        wrong = []
        for importer in sorted(graph.find_descendants(str(self.services))):
            for imported in sorted(graph.find_modules_directly_imported_by(importer)):
                if self._is_wrong(importer.split("."), imported.split(".")):
                    lines = graph.get_import_details(importer=importer, imported=imported)
                    wrong.append((importer, imported, lines[0]["line_number"]))
        return ContractCheck(kept=not wrong, metadata={"wrong": wrong})

    def _is_wrong(self, importer: list[str], imported: list[str]) -> bool:
        # services.<service>.<capability>.<room>
        if len(importer) < 3 or len(imported) < 3 or importer[:2] != imported[:2]:
            return False
        one, other = importer[2], imported[2]
        if one in (other, _ROOT) or other in _OF_SERVICE or importer[-1] == _PROCESS:
            return False
        doors: set[str] = self.doors  # type: ignore[assignment]
        return one in _OF_SERVICE or len(imported) < 4 or imported[3] not in doors

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Name each import that goes through no door."""
        for importer, imported, line in check.metadata["wrong"]:
            output.print_error(f"{importer} imports {imported} (l. {line})")
