package webhook

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestURLsThatAreRefused(t *testing.T) {
	for _, good := range []string{"https://back-end.example/events?key=1", "https://back-end.example:8443", "http://127.0.0.1:9000/x", "http://[::1]:9000/",
		"http://localhost/", "http://127.9.9.9/", "https://10.0.0.1/"} {
		if err := CheckURL(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "back-end.example", "/events", "https://", "https:///x", "https:back-end.example", "http://back-end.example/", "http://10.0.0.1/",
		"http://localhost.example/", "http://127.0.0.1.example/", "http://0.0.0.0/", "ftp://localhost/", "file:///etc/passwd", "https://u@back-end.example/",
		"https://u:p@back-end.example/", "https://back-end.example/#x", "https://back-end.example/#", "https://back-end.example:0/", "https://back-end.example:70000/",
		"https://back-end.example/a b", "https://back-end.example/\r\nX: y", "https://back-end.example/" + strings.Repeat("a", 2048), "https://bäck-end.example/"} {
		if err := CheckURL(bad); err == nil {
			t.Errorf("%.60q: got no error", bad)
		}
	}
}

func message(url string) Message {
	return Message{URL: url, Secret: NewSecret(), ID: "a1", Body: []byte(`{"type":"bill.received"}`), At: time.Now()}
}

func TestReceiverGetsASignedMessage(t *testing.T) {
	m := message("")
	got := make(chan error, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil && (r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" || string(body) != string(m.Body)) {
			err = errors.New(r.Method + " " + r.Header.Get("Content-Type") + " " + string(body))
		}
		if err == nil {
			err = Verify(m.Secret, r.Header, body, time.Now())
		}
		got <- err
		w.WriteHeader(http.StatusAccepted)
	}))
	defer s.Close()
	m.URL = s.URL + "/events?key=1"
	if a := NewSender(Config{}).Send(t.Context(), m); !a.Delivered() || a.Status != 202 || a.Text != "202 Accepted" {
		t.Errorf("got %+v, want it delivered", a)
	}
	if err := <-got; err != nil {
		t.Errorf("the receiver: %v", err)
	}
}

func TestAnswers(t *testing.T) {
	for status, want := range map[int]struct{ delivered, gone, down bool }{
		200: {true, false, false}, 204: {true, false, false}, 301: {}, 400: {}, 404: {}, 410: {false, true, false}, 429: {false, false, true},
		500: {}, 502: {false, false, true}, 503: {false, false, true}, 504: {false, false, true}, 0: {false, false, true}, 199: {},
	} {
		a := Answer{Status: status}
		if a.Delivered() != want.delivered || a.Gone() != want.gone || a.Down() != want.down {
			t.Errorf("%d: got delivered %t, gone %t, down %t, want %+v", status, a.Delivered(), a.Gone(), a.Down(), want)
		}
	}
	now := time.Unix(1_700_000_000, 0)
	for value, want := range map[string]time.Duration{"": 0, "x": 0, "-5": 0, "30": 30 * time.Second, "99999999": maxAfter, "999999999999999999": 0,
		now.Add(time.Minute).UTC().Format(http.TimeFormat): time.Minute, now.Add(-time.Minute).UTC().Format(http.TimeFormat): 0} {
		if got := retryAfter(value, now); got != want {
			t.Errorf("Retry-After %q: got %s, want %s", value, got, want)
		}
	}
}

// A receiver cannot send us, with our signature, to a place of its choice.
func TestRedirectIsNotFollowed(t *testing.T) {
	var inside atomic.Int64
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { inside.Add(1) }))
	defer target.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		s := httptest.NewServer(http.RedirectHandler(target.URL, status))
		if a := NewSender(Config{}).Send(t.Context(), message(s.URL)); a.Status != status || a.Delivered() {
			t.Errorf("%d: got %+v, want the redirect itself", status, a)
		}
		s.Close()
	}
	if n := inside.Load(); n != 0 {
		t.Errorf("%d redirects were followed", n)
	}
}

// Everything but this machine goes through the dialler that refuses what is not public.
func TestOtherMachinesAreDialledWithCare(t *testing.T) {
	var asked []string
	s := NewSender(Config{DialContext: func(_ context.Context, _, addr string) (net.Conn, error) {
		asked = append(asked, addr)
		return nil, errors.New("10.0.0.1 is not a public address (private)")
	}})
	for _, url := range []string{"https://back-end.example/?key=hunter2", "https://10.0.0.1:8443/", "https://127.0.0.1.nip.example/"} {
		a := s.Send(t.Context(), message(url))
		if a.Status != 0 || !a.Down() || !strings.Contains(a.Text, "not a public address") || strings.Contains(a.Text, "hunter2") {
			t.Errorf("%s: got %+v, want the dialler's refusal without the URL", url, a)
		}
	}
	if got, want := strings.Join(asked, " "), "back-end.example:443 10.0.0.1:8443 127.0.0.1.nip.example:443"; got != want {
		t.Errorf("dialled %s, want %s", got, want)
	}
	if a := NewSender(Config{}).Send(t.Context(), message("https://back-end.example/")); a.Status != 0 || !strings.Contains(a.Text, "only receivers on this machine") {
		t.Errorf("without a dialler: got %+v", a)
	}
	if a := s.Send(t.Context(), message("http://back-end.example/")); a.Status != 0 || len(asked) != 3 {
		t.Errorf("a URL that was in the database and is not allowed: got %+v, %v", a, asked)
	}
}

func TestStrangersCertificateGetsNoMessage(t *testing.T) {
	var got atomic.Int64
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { got.Add(1) }))
	defer s.Close()
	if a := NewSender(Config{}).Send(t.Context(), message(s.URL)); a.Status != 0 || got.Load() != 0 {
		t.Errorf("unknown certificate: got %+v and %d requests", a, got.Load())
	}
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	if a := NewSender(Config{Roots: roots}).Send(t.Context(), message(s.URL)); !a.Delivered() {
		t.Errorf("known certificate: got %+v", a)
	}
}

func TestSlowAndEndlessReceivers(t *testing.T) {
	done, written := make(chan struct{}), make(chan int, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-done
			return
		}
		w.WriteHeader(200)
		n := 0
		for n < 1<<16 && r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1024)); err != nil {
				break
			}
			n++
		}
		written <- n
	}))
	defer s.Close()
	defer close(done)
	// Without its time-out this would wait for ever.
	if a := NewSender(Config{Timeout: 200 * time.Millisecond}).Send(t.Context(), message(s.URL+"/slow")); a.Status != 0 {
		t.Errorf("slow: got %+v, want no answer", a)
	}
	if a := NewSender(Config{Timeout: time.Minute}).Send(t.Context(), message(s.URL+"/endless")); !a.Delivered() {
		t.Errorf("endless: got %+v, want it delivered", a)
	}
	if got := <-written; got > 1<<15 { // what is on the way when it ends is a few MiB
		t.Errorf("endless: %d KiB of its answer were taken", got)
	}
}
