package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"eblnode/identity"
)

// memory is what the node holds under load, and what one body of the largest size takes.
type memory struct {
	Load  int64   `json:"peakUnderLoadBytes"`
	Body  int64   `json:"largeBodyBytes"`
	Cost  int64   `json:"largeBodyCostBytes"`
	Times float64 `json:"largeBodyTimes"`
}

// memory reads the peak so far, and sends blocks whose documents fill the limit.
func (o *options) memory(ctx context.Context, s *stage) (*memory, error) {
	m := &memory{Load: memoryOf(s.pid(), "VmHWM")}
	const size = 8<<20 - 16<<10
	list, err := s.party.blocks(identity.ES256, fmt.Sprintf("M%d", os.Getpid()), size, 1, 4, holder+"@"+nodeDomain)
	if err != nil {
		return nil, err
	}
	l := newLoad(s, 1)
	defer l.close()
	for i, b := range list {
		if _, err := s.memstats(ctx, true); err != nil { // gives back all that is free
			return nil, err
		}
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.pid()), []byte("5"), 0); err != nil {
			return nil, fmt.Errorf("setting the peak back: %w", err)
		}
		before := memoryOf(s.pid(), "VmRSS")
		if err := l.all(ctx, []*block{b}); err != nil {
			return nil, err
		}
		if i > 0 { // the first makes buffers that stay
			m.Body = int64(len(b.body))
			m.Cost = max(m.Cost, memoryOf(s.pid(), "VmHWM")-before)
		}
	}
	if o.profile != "" {
		text, err := s.ask(ctx, "/debug/pprof/allocs")
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(o.profile, "allocs.pprof"), text, 0o600); err != nil {
			return nil, err
		}
	}
	m.Times = float64(m.Cost) / float64(m.Body)
	return m, nil
}

// memoryOf reads a field of /proc/PID/status, in bytes: VmRSS, or VmHWM for the peak.
func memoryOf(pid int, field string) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return n << 10
		}
	}
	return 0
}

// fsck lets the program check the database of a stopped node.
func (s *stage) fsck(ctx context.Context, sample int) error {
	out, err := s.command(ctx, "fsck", "--sample", strconv.Itoa(sample), "--json")
	if err != nil {
		return fmt.Errorf("fsck: %w\n%.2000s", err, out)
	}
	if !json.Valid(out) {
		return fmt.Errorf("fsck said %.200s", out)
	}
	return nil
}
