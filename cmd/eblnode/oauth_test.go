package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestTokensAsTheManualSwitchesThemOn runs the commands of docs/OPERATIONS.md on one of
// two nodes, then on the other, and moves a bill to and fro through restarts of each.
func TestTokensAsTheManualSwitchesThemOn(t *testing.T) {
	section := sectionOf(t, "Access tokens")
	on := func(node string) string {
		var b strings.Builder
		for line := range section.all() {
			line = strings.ReplaceAll(line, "/var/lib/eblnode", node)
			if args, ok := strings.CutPrefix(line, "eblnode serve "); ok {
				fmt.Fprintf(&b, "exec eblnode serve %s &%s&\nawait %s\n", args, node, node)
				continue
			}
			fmt.Fprintf(&b, "exec %s\n", line) // testscript reads quotes as sh does
		}
		return b.String()
	}
	stop := func(node string) string { return fmt.Sprintf("kill -INT %[1]s\nwait %[1]s\n", node) }
	start := func(node string) string {
		return fmt.Sprintf("exec eblnode serve --data %[1]s &%[1]s&\nawait %[1]s\n", node)
	}
	ports := freePorts(t, 2)
	init := func(node, port, more string) string {
		return fmt.Sprintf("exec eblnode init --data %[1]s --domain localhost:%[2]s --listen-peer localhost:%[2]s --listen-local 127.0.0.1:0 --endpoint https://localhost:%[2]s/v1/transferblocks --allow-network 127.0.0.0/8 --allow-network ::1/128%[3]s\n"+
			"exec eblnode peer self --data %[1]s\ncp stdout %[1]s.json\nexec eblnode user add user --role holder --data %[1]s --token-file %[1]s.token\n", node, port, more)
	}
	move := func(from, to, port string) string {
		return fmt.Sprintf("exec eblnode transfer $BILL --to user@localhost:%s --data %s --token-file %[2]s.token\nexec eblnode show $BILL --data %[3]s --token-file %[3]s.token\nstdout 'is in control$'\n", port, from, to)
	}
	there, back := move("alpha", "beta", ports[1]), move("beta", "alpha", ports[0])
	const given = "stderr 'route=/oauth2/token status=200'\n! stderr eyJ\n"
	script := init("alpha", ports[0], " --issuer") + init("beta", ports[1], "") +
		"exec eblnode peer add beta.json --data alpha --yes\nexec eblnode peer add alpha.json --data beta --yes\n" +
		"exec eblnode user add issuer --role issuer --data alpha --token-file issuer.token\n" +
		start("alpha") + on("beta") +
		fmt.Sprintf("exec eblnode issue bl.json --to user@localhost:%s --data alpha --token-file issuer.token\nsetline BILL stdout\n", ports[0]) +
		there + back + // one side asks for tokens
		stop("alpha") + on("alpha") +
		there + back + // both do
		stop("beta") + given + start("beta") + there + // the token of before is still good
		stop("alpha") + given + start("alpha") + back + there +
		stop("alpha") + given + stop("beta") + given +
		"exec eblnode fsck --data alpha\nexec eblnode fsck --data beta\n"
	file := filepath.Join(t.TempDir(), "tokens.txtar")
	files := "-- bl.json --\n{\"transportDocumentReference\":\"ALPHA-1\",\"carrierCode\":\"ALPH\",\"isToOrder\":true}\n"
	if err := os.WriteFile(file, []byte(script+files), 0o600); err != nil {
		t.Fatal(err)
	}
	runScripts(t, testscript.Params{Files: []string{file}})
}

// TestSystemAsTheManualRegistersIt runs the commands of docs/OPERATIONS.md about a
// customer's system.
func TestSystemAsTheManualRegistersIt(t *testing.T) {
	section := sectionOf(t, "A customer's system that acts for it")
	script := "exec eblnode init --data n --domain a.example --listen-peer 127.0.0.1:0 --listen-local 127.0.0.1:0\nexec eblnode user add acme --data n\n"
	for line := range section.all() {
		script += "exec " + strings.ReplaceAll(line, "/var/lib/eblnode", "n") + "\n"
	}
	script += "exec eblnode system list --data n\nstdout 'acme-erp +disabled +CUST12345=acme'\n"
	keys := `-- erp.jwks --
{"keys":[{"kty":"EC","crv":"P-256","kid":"k1","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}
`
	file := filepath.Join(t.TempDir(), "system.txtar")
	if err := os.WriteFile(file, []byte(script+keys), 0o600); err != nil {
		t.Fatal(err)
	}
	runScripts(t, testscript.Params{Files: []string{file}})
}

// TestSecondPersonAsTheManualSays runs the commands of docs/OPERATIONS.md about orders that
// wait for a second person.
func TestSecondPersonAsTheManualSays(t *testing.T) {
	section := sectionOf(t, "Orders that wait for a second person")
	const wants = "exec eblnode show $BILL --data n --token-file %s.token\nstdout 'control +%s@a.example is in control'\n"
	script := "exec eblnode init --data n --domain a.example --listen-peer 127.0.0.1:0 --listen-local 127.0.0.1:0 --issuer\n"
	for _, u := range []string{"acme", "alice", "bob", "issuer"} {
		role := "holder"
		if u == "issuer" {
			role = "issuer"
		}
		script += fmt.Sprintf("exec eblnode user add %[1]s --role %[2]s --data n --token-file %[1]s.token\n", u, role)
	}
	script += "exec eblnode serve --data n &n&\nawait n\nexec eblnode issue bl.json --to acme@a.example --data n --token-file issuer.token\nsetline BILL stdout\n"
	for line := range section.all() {
		line = strings.ReplaceAll(line, "/var/lib/eblnode", "n")
		switch {
		case strings.HasPrefix(line, "eblnode transfer"):
			// It waits, so the exit code is not 0; twice it is one order.
			script += "code 3 " + line + "\nstdout 'waits for a second person'\ncode 3 " + line + "\n" + fmt.Sprintf(wants, "acme", "acme")
		case strings.HasPrefix(line, "eblnode approvals list"):
			script += "exec " + line + "\nstdout 'pending +acme +TRNS'\nexec sh -c '" + line + " | sed -n \"s/ .*//;2p\"'\nsetline ORDER stdout\n"
		case strings.HasPrefix(line, "eblnode approvals approve"):
			script += "kill -INT n\nwait n\nexec eblnode serve --data n &m&\nawait n\n" + // it survives
				"stdin no\ncode 1 " + line + "\nstdin yes\nexec " + line + "\nstdout 'state: approved by alice'\n" + fmt.Sprintf(wants, "bob", "bob") +
				"code 2 eblnode approvals approve $ORDER --yes --data n --token-file alice.token\ncode 1 eblnode approvals reject $ORDER --data n --token-file bob.token\nstderr 'does not wait any more'\n"
		default:
			script += "exec " + line + "\n"
		}
	}
	script += "code 2 eblnode user approvers acme --data n\ncode 1 eblnode user approvers acme --by acme --data n\nexec eblnode fsck --data n\n"
	files := "-- no --\nn\n-- yes --\ny\n-- bl.json --\n{\"transportDocumentReference\":\"A-1\",\"carrierCode\":\"ALPH\",\"isToOrder\":true}\n"
	file := filepath.Join(t.TempDir(), "second.txtar")
	if err := os.WriteFile(file, []byte(script+files), 0o600); err != nil {
		t.Fatal(err)
	}
	runScripts(t, testscript.Params{Files: []string{file}})
}
