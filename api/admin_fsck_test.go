package api_test

import (
	"encoding/json"
	"strings"
	"testing"

	"eblnode/api"
	"eblnode/internal/ebltest"
)

// The last line is the report; a row changed behind the node's back is named in it.
func TestAdminFsckNamesWhatIsWrong(t *testing.T) {
	carrier := ebltest.New(t).Platform("carrier.example")
	a := newAdmin(t, carrier)
	doc := carrier.Issue(carrier.User("alice").ID)
	if r := lastFsckLine(t, a.ask("POST", "/admin/v1/fsck", `{}`)); r == nil || !r.Clean || r.Checked.Bills != 1 || r.Checked.Steps != 1 || len(r.Findings) != 0 {
		t.Errorf("got %+v, want a clean report of one bill", r)
	}
	if _, err := database(t, carrier).ExecContext(t.Context(), "UPDATE bills SET possessor = 'mallory@carrier.example'"); err != nil {
		t.Fatal(err)
	}
	r := lastFsckLine(t, a.ask("POST", "/admin/v1/fsck", `{}`))
	if r == nil || r.Clean || len(r.Findings) != 1 || r.Findings[0].Table != "bills" || r.Findings[0].Bill != doc.String() || !strings.Contains(r.Findings[0].What, "possessor") || r.Findings[0].Cure == "" {
		t.Errorf("got %+v, want the possessor of %s", r, doc)
	}
}

func lastFsckLine(t *testing.T, c *call) *api.FsckView {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(string(c.want(t, 200, 0).answer)), "\n")
	var last api.FsckLine
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
		t.Fatal(err)
	}
	return last.Report
}
