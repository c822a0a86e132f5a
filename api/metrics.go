package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"time"

	"eblnode/node"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are what a node tells Prometheus. One belongs to all handlers and servers of
// one node.
type Metrics struct {
	registry   *prometheus.Registry
	requests   *prometheus.CounterVec
	seconds    *prometheus.HistogramVec
	handshakes prometheus.Counter
	tooMany    prometheus.Counter
}

// NewMetrics makes the metrics of n.
func NewMetrics(n *node.Node) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "eblnode_http_requests_total",
			Help: "Requests by listener, method, route and status."}, []string{"listener", "method", "route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "eblnode_http_request_seconds",
			Help: "Time from the header of a request to the end of its answer.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 14)},
			[]string{"listener", "route"}),
		handshakes: prometheus.NewCounter(prometheus.CounterOpts{Name: "eblnode_tls_handshakes_failed_total",
			Help: "TLS handshakes that failed, mostly strangers."}),
		tooMany: prometheus.NewCounter(prometheus.CounterOpts{Name: "eblnode_connections_refused_total",
			Help: "Connections closed unread because their address or platform had too many open."}),
	}
	m.registry.MustRegister(m.requests, m.seconds, m.handshakes, m.tooMany, &nodeMetrics{n})
	m.registry.MustRegister(&hookMetrics{n})
	return m
}

// handler serves the metrics in Prometheus' text form.
func (m *Metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// scrape is GET /metrics. It names our peers and tells how much goes on with whom, so it is
// not for everybody who reaches the listener; and that it is loopback says little, since a
// proxy in front of it is on loopback too. What reads metrics need not read bills: it has a
// token of its own.
func (h *localHandler) scrape(o Options) gin.HandlerFunc {
	serve := o.Metrics.handler()
	if o.MetricsOpen {
		return gin.WrapH(serve)
	}
	want := sha256.Sum256([]byte(o.MetricsToken))
	users := h.user(func(c *gin.Context, u *node.User) {
		if u.Role != node.OperatorRole && u.Role != node.AuditorRole {
			fail(c, refuse(node.Forbidden, node.TextForbidden, "metrics are for operators and auditors"))
			return
		}
		serve.ServeHTTP(c.Writer, c.Request)
	})
	return func(c *gin.Context) {
		if token, refusal := bearer(c.Request); o.MetricsToken != "" && refusal == nil {
			// Of the sums: how long it takes tells nothing of the token.
			if got := sha256.Sum256([]byte(token)); subtle.ConstantTimeCompare(got[:], want[:]) == 1 {
				eventOf(c).who = "metrics"
				serve.ServeHTTP(c.Writer, c.Request)
				return
			}
		}
		users(c)
	}
}

// nodeMetrics reads the node when it is asked.
type nodeMetrics struct{ node *node.Node }

var (
	billsDesc     = prometheus.NewDesc("eblnode_bills", "Bills by who is in control.", []string{"control"}, nil)
	transfersDesc = prometheus.NewDesc("eblnode_transfers", "Transfers to other platforms by state.", []string{"state"}, nil)
	doubtDesc     = prometheus.NewDesc("eblnode_transfer_oldest_in_doubt_seconds", "Age of the oldest transfer sent and not answered with a signature; 0 if none.", nil, nil)
	doubtfulDesc  = prometheus.NewDesc("eblnode_transfers_in_doubt", "Transfers sent and not answered with a signature for longer than so many seconds.", []string{"longer_than"}, nil)
	circuitDesc   = prometheus.NewDesc("eblnode_peer_circuit_open", "1 if a peer has failed so often that it gets one probe at a time.", []string{"peer"}, nil)
	waitingDesc   = prometheus.NewDesc("eblnode_incoming_refused", "Blocks refused without a signature whose senders wait; see eblnode incoming list.", nil, nil)
	lateDesc      = prometheus.NewDesc("eblnode_late_answers", "Signed answers that came after operators had resolved their transfer. contradicts=true: not 0 means that somebody was wrong.", []string{"contradicts"}, nil)
	branchesDesc  = prometheus.NewDesc("eblnode_fork_entries", "Entries of forked chains kept as proof. Not 0: a platform signed twice.", nil, nil)
	readDesc      = prometheus.NewDesc("eblnode_database_readable", "1 if the database answered.", nil, nil)
	receivedDesc  = prometheus.NewDesc("eblnode_received_total", "Transferblocks received since the start, by result.", []string{"result"}, nil)
	sentDesc      = prometheus.NewDesc("eblnode_sent_total", "Transfers settled since the start, by result.", []string{"result"}, nil)
	attemptsDesc  = prometheus.NewDesc("eblnode_send_attempts_total", "Attempts to send since the start.", nil, nil)
	failedDesc    = prometheus.NewDesc("eblnode_send_attempts_failed_total", "Attempts without a signed answer since the start.", nil, nil)
	forksDesc     = prometheus.NewDesc("eblnode_forks_total", "Forked chains offered since the start.", nil, nil)
	unbelieveDesc = prometheus.NewDesc("eblnode_answers_not_believed_total", "Answers whose signature was not the addressee's over this transfer, since the start.", nil, nil)
)

// Describe is the Collector's.
func (m *nodeMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{billsDesc, transfersDesc, doubtDesc, doubtfulDesc, circuitDesc, waitingDesc, lateDesc, branchesDesc, readDesc, receivedDesc, sentDesc,
		attemptsDesc, failedDesc, forksDesc, unbelieveDesc} {
		ch <- d
	}
	ch <- quarantineDesc
	ch <- frozenDesc
}

// Collect is the Collector's.
func (m *nodeMetrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	s := &m.node.Stats
	count(receivedDesc, s.Accepted.Load(), "accepted")
	count(receivedDesc, s.Repeated.Load(), "repeated")
	count(receivedDesc, s.Rejected.Load(), "rejected")
	count(receivedDesc, s.Refused.Load(), "refused")
	count(receivedDesc, s.Quarantined.Load(), "quarantined")
	count(sentDesc, s.SentAccepted.Load(), "accepted")
	count(sentDesc, s.SentRejected.Load(), "rejected")
	count(sentDesc, s.SentDisputed.Load(), "disputed")
	count(attemptsDesc, s.Attempts.Load())
	count(failedDesc, s.AttemptsFailed.Load())
	count(forksDesc, s.Forks.Load())
	count(unbelieveDesc, s.Unbelieved.Load())

	for _, p := range m.node.Trust().Platforms() {
		if p.Domain == m.node.Domain() {
			continue
		}
		open := 0.0
		if m.node.Circuit(p.Domain).Open {
			open = 1
		}
		gauge(circuitDesc, open, p.Domain.String())
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	t, err := m.node.Totals(ctx)
	if err != nil {
		gauge(readDesc, 0)
		return
	}
	gauge(readDesc, 1)
	witnessMetrics(t, gauge)
	// Every state, also where nothing is in it: an alert needs a series to watch.
	for _, c := range []node.Control{node.Held, node.Locked, node.Disputed, node.Away, node.Voided} {
		gauge(billsDesc, float64(t.Bills[c]), string(c))
	}
	for _, x := range []node.TransferState{node.Prepared, node.Sending, node.Accepted, node.Rejected, node.DisputedT, node.Cancelled} {
		gauge(transfersDesc, float64(t.Transfers[x]), string(x))
	}
	gauge(branchesDesc, float64(t.Branches))
	doubt := 0.0
	if !t.OldestDoubt.IsZero() {
		doubt = max(0, m.node.Now().Sub(t.OldestDoubt).Seconds())
	}
	gauge(doubtDesc, doubt)
	gauge(waitingDesc, float64(t.Refused))
	gauge(lateDesc, float64(t.Late-t.LateWrong), "false")
	gauge(lateDesc, float64(t.LateWrong), "true")
	gauge(doubtfulDesc, float64(t.DoubtLong), "300")
	gauge(doubtfulDesc, float64(t.DoubtVeryLong), "3600")
}
