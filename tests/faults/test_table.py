from tests.faults import table


def test_the_page_shows_the_results() -> None:
    page = table.PAGE.read_text()

    assert page == table.shown(page, table.read(table.RESULTS))


def test_a_failed_check_is_marked_and_the_rest_of_the_page_stays() -> None:
    row = {
        "fault": "SIGKILL of ingest",
        "log": "Kafka",
        "runs": 3,
        "recovery": [0.5, 1.0, 4.25],
        "down": [2.0, 3.0, 9.0],
        "events": 12345,
        "lines": 1.5,
        "failed": ["ready"],
        "date": "2026-01-31",
    }
    page = table.shown(f"before\n{table.BEGIN}old\n{table.END}after\n", [row])
    cells = [cell.strip() for cell in page.splitlines()[4].split("|")[1:-1]]

    assert page.startswith("before\n")
    assert page.endswith(f"{table.END}after\n")
    assert "old" not in page
    assert ["SIGKILL of ingest", "Kafka", "3"] == cells[:3]
    assert ["3.0, 9.0", "1.0, 4.2", "1.5", "12,345", "2026-01-31"] == cells[-5:]
    assert 1 == cells.count("✗")
