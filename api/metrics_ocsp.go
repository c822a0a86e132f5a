package api

import (
	"time"

	"eblnode/discovery"
	"eblnode/identity"

	"github.com/prometheus/client_golang/prometheus"
)

// Asking has stats called each time that metrics are read, for what OCSP responders were
// asked; discovery.OCSP.Stats is one. Call it once.
func (m *Metrics) Asking(stats func() discovery.OCSPStats) {
	m.registry.MustRegister(ocspMetrics{stats})
}

type ocspMetrics struct{ stats func() discovery.OCSPStats }

var (
	ocspAskedDesc   = prometheus.NewDesc("eblnode_ocsp_asked_total", "Questions to OCSP responders since the start.", nil, nil)
	ocspAnswerDesc  = prometheus.NewDesc("eblnode_ocsp_answers_total", "Their answers that hold, by what they say.", []string{"status"}, nil)
	ocspRefusedDesc = prometheus.NewDesc("eblnode_ocsp_refused_total", "Answers that say nothing, by the rule that they broke; unreachable: none came.", []string{"rule"}, nil)
	ocspKeptDesc    = prometheus.NewDesc("eblnode_ocsp_kept", "Answers that are kept and have not ended.", nil, nil)
	ocspOldestDesc  = prometheus.NewDesc("eblnode_ocsp_oldest_seconds", "How long ago the oldest of them was fetched; 0 if none is kept.", nil, nil)
	ocspNobodyDesc  = prometheus.NewDesc("eblnode_ocsp_nobody_to_ask_total", "Connections of peers known by an authority alone about which nobody can be asked, though their entry does not say soft.", nil, nil)
)

// Describe is the Collector's.
func (m ocspMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{ocspAskedDesc, ocspAnswerDesc, ocspRefusedDesc, ocspKeptDesc, ocspOldestDesc, ocspNobodyDesc} {
		ch <- d
	}
}

// Collect is the Collector's.
func (m ocspMetrics) Collect(ch chan<- prometheus.Metric) {
	s := m.stats()
	count := func(d *prometheus.Desc, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	count(ocspAskedDesc, s.Asked)
	count(ocspAnswerDesc, s.Good, "good")
	count(ocspAnswerDesc, s.Revoked, "revoked")
	for _, rule := range append([]string{discovery.Unreachable}, identity.OCSPRules...) {
		count(ocspRefusedDesc, s.Refused[rule], rule)
	}
	count(ocspNobodyDesc, s.Nobody)
	age := 0.0
	if !s.Oldest.IsZero() {
		age = max(0, time.Since(s.Oldest).Seconds())
	}
	ch <- prometheus.MustNewConstMetric(ocspKeptDesc, prometheus.GaugeValue, float64(s.Kept))
	ch <- prometheus.MustNewConstMetric(ocspOldestDesc, prometheus.GaugeValue, age)
}
