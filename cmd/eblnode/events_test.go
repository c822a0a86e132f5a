package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// TestFollowerMissesNothingWhenTheNodeIsStartedAgain: who follows what happens from now on goes
// on from that moment, also where a question of its own was lost before anything happened.
func TestFollowerMissesNothingWhenTheNodeIsStartedAgain(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var mu sync.Mutex
	var asked []string
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		q := r.URL.Query()
		asked = append(asked, q.Get("cursor")+" "+q.Get("wait"))
		switch len(asked) {
		case 1:
			fmt.Fprint(w, `{"events":[],"nextCursor":"7-00000000"}`)
		case 2:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 3:
			fmt.Fprint(w, `{"events":[{"id":"8-00000000","type":"bill.moved","time":"2026-05-01T00:00:00Z","data":{}}],"nextCursor":"8-00000000"}`)
		default:
			stop()
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer node.Close()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("ebl_x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errOut bytes.Buffer
	code := run(ctx, []string{"events", "--follow", "--json", "--cursor", "latest", "--url", node.URL, "--token-file", token}, strings.NewReader(""), &out, &errOut)
	if code != 0 || !strings.Contains(out.String(), "bill.moved") {
		t.Errorf("got exit code %d, %s%s; want the one event", code, &out, &errOut)
	}
	mu.Lock()
	defer mu.Unlock()
	if want := []string{"latest ", "7-00000000 30", "7-00000000 30", "8-00000000 30"}; !slices.Equal(asked, want) {
		t.Errorf("asked with the cursors and waits %q, want %q", asked, want)
	}
}
