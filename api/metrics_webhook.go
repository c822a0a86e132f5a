package api

import (
	"context"
	"time"

	"eblnode/node"

	"github.com/prometheus/client_golang/prometheus"
)

// hookMetrics reads how the webhooks of a node are, when it is asked.
type hookMetrics struct{ node *node.Node }

var (
	hooksDesc    = prometheus.NewDesc("eblnode_webhooks", "Webhooks by state. A disabled one tells nobody anything.", []string{"state"}, nil)
	hookWaitDesc = prometheus.NewDesc("eblnode_webhook_pending", "Events that a webhook's receiver has still to take.", []string{"webhook"}, nil)
	hookAgeDesc  = prometheus.NewDesc("eblnode_webhook_oldest_pending_seconds", "Age of the oldest of them; 0 if none.", []string{"webhook"}, nil)
	hookTookDesc = prometheus.NewDesc("eblnode_webhook_delivered_total", "Events that a webhook's receiver took.", []string{"webhook"}, nil)
	hookDropDesc = prometheus.NewDesc("eblnode_webhook_dropped_total", "Events given up since their receiver did not take them in time.", []string{"webhook"}, nil)
)

// Describe is the Collector's.
func (m *hookMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{hooksDesc, hookWaitDesc, hookAgeDesc, hookTookDesc, hookDropDesc} {
		ch <- d
	}
}

// Collect is the Collector's.
func (m *hookMetrics) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	hooks, err := m.node.Webhooks(ctx)
	if err != nil {
		return // the database's own metric says so
	}
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, label string) {
		ch <- prometheus.MustNewConstMetric(d, kind, v, label)
	}
	active := 0
	for i := range hooks {
		w := &hooks[i]
		age := 0.0
		if w.Active {
			active++
		}
		if !w.Oldest.IsZero() {
			age = max(0, m.node.Now().Sub(w.Oldest).Seconds())
		}
		send(hookWaitDesc, prometheus.GaugeValue, float64(w.Pending), w.ID)
		send(hookAgeDesc, prometheus.GaugeValue, age, w.ID)
		send(hookTookDesc, prometheus.CounterValue, float64(w.Delivered), w.ID)
		send(hookDropDesc, prometheus.CounterValue, float64(w.Dropped), w.ID)
	}
	send(hooksDesc, prometheus.GaugeValue, float64(active), "active")
	send(hooksDesc, prometheus.GaugeValue, float64(len(hooks)-active), "disabled")
}
