package webhook

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// A Task is something to tell a receiver. Tasks of one Lane stay in their order.
type Task struct {
	ID   string
	Lane int64
	Body []byte
	// Seq and Attempts are the caller's.
	Seq      int64
	Attempts int
}

// A Result is what came of a task. Where Tried is false nothing was sent, since an earlier
// one of its lane was not delivered, or the receiver does not answer.
type Result struct {
	Task   Task
	Tried  bool
	Answer Answer
}

// Round tells a receiver all tasks: each lane in its order, up to width lanes at a time. A
// task that is not delivered holds up its lane, and a receiver that is down or gone ends
// the round. The results are in the order of the tasks.
func Round(ctx context.Context, tasks []Task, width int, send func(context.Context, Task) Answer) []Result {
	results := make([]Result, len(tasks))
	lanes := map[int64][]int{}
	var order []int64
	for i, t := range tasks {
		results[i].Task = t
		if lanes[t.Lane] == nil {
			order = append(order, t.Lane)
		}
		lanes[t.Lane] = append(lanes[t.Lane], i)
	}
	going, stop := context.WithCancel(ctx)
	defer stop()
	next := make(chan []int)
	var workers sync.WaitGroup
	for range min(width, len(order)) {
		workers.Go(func() {
			for lane := range next {
				for _, i := range lane {
					if going.Err() != nil {
						break
					}
					// With ctx, not going: what has begun may still be taken, and that is worth
					// knowing.
					a := send(ctx, results[i].Task)
					if ctx.Err() != nil && !a.Delivered() {
						break // we went away, not the receiver
					}
					results[i].Tried, results[i].Answer = true, a
					if a.Down() || a.Gone() {
						stop()
					}
					if !a.Delivered() {
						break
					}
				}
			}
		})
	}
	for _, lane := range order {
		next <- lanes[lane]
	}
	close(next)
	workers.Wait()
	return results
}

// Pause is the back-off after so many failed attempts: 1 s doubled each time, most at most, and
// between half of that and all of it, so that a receiver that comes back is not met by
// everything at once.
func Pause(failed int, most time.Duration) time.Duration {
	d := most
	if failed = max(failed, 1); failed <= 20 {
		d = min(d, time.Second<<(failed-1))
	}
	return d/2 + rand.N(d/2+1)
}
