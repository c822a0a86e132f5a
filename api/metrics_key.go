package api

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// An Expiry is when something that a node proves itself with, or a peer's key, runs out
// and nothing takes over by itself.
type Expiry struct {
	Use  string    // signing, tls, or peer: the signing keys that we hold of one
	Name string    // our domain, or the peer's
	At   time.Time // zero: never
	Cure string    // what to do about it, where that is not what is usual; no metric says it
}

// Expiring has f asked for what runs out each time that metrics are read. Call it once.
func (m *Metrics) Expiring(f func() []Expiry) { m.registry.MustRegister(expiryMetrics{f}) }

type expiryMetrics struct{ list func() []Expiry }

var expiryDesc = prometheus.NewDesc("eblnode_key_seconds_left",
	"Until the last key of this use runs out: signing and tls are ours (name is our domain, or the one peer that is shown a certificate), peer is what we hold of a peer. Not above 0: it has run out.",
	[]string{"use", "name"}, nil)

// Describe is the Collector's.
func (m expiryMetrics) Describe(ch chan<- *prometheus.Desc) { ch <- expiryDesc }

// Collect is the Collector's.
func (m expiryMetrics) Collect(ch chan<- prometheus.Metric) {
	for _, e := range m.list() {
		if !e.At.IsZero() {
			ch <- prometheus.MustNewConstMetric(expiryDesc, prometheus.GaugeValue, time.Until(e.At).Seconds(), e.Use, e.Name)
		}
	}
}
