package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"eblnode/api"

	"github.com/spf13/cobra"
)

func (a *app) eventsCommand() *cobra.Command {
	var cursor string
	var follow bool
	c := &cobra.Command{
		Use: "events", Short: "List what happened to the bills that you may see, oldest first", Args: cobra.NoArgs,
		Long: `List what happened to the bills that you may see, oldest first: names and states, nothing
of the documents. --follow goes on with what happens, until it is stopped. With --json
each event is one line, and the last line of a list is {"nextCursor": …}, with which
--cursor goes on later.`,
		Example: `  eblnode events --follow --cursor latest --json --token-file back-end.token`,
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := a.local()
			if err != nil {
				return err
			}
			return a.events(c.Context(), r, cursor, follow)
		},
	}
	c.Flags().StringVar(&cursor, "cursor", "", "begin after this event (default: at the first; latest: what happens from now on)")
	c.Flags().BoolVar(&follow, "follow", false, "go on with what happens")
	return c
}

// pageOfEvents is how many events are asked for at once, and eventsWait how many seconds
// a follower's question waits.
const (
	pageOfEvents = 200
	eventsWait   = 30
)

// latestEvent is the cursor that stands before what happens from now on.
const latestEvent = "latest"

func (a *app) events(ctx context.Context, r *remote, cursor string, follow bool) error {
	for {
		path := fmt.Sprintf("/api/v1/events?limit=%d", pageOfEvents)
		// Where the latest is we ask without waiting: were the answer lost after a while, as when
		// the node is started again, the next question would begin later, and miss something.
		if follow && cursor != latestEvent {
			path += fmt.Sprintf("&wait=%d", eventsWait)
		}
		if cursor != "" {
			path += "&cursor=" + url.QueryEscape(cursor)
		}
		var page api.EventList
		err := r.call(ctx, http.MethodGet, path, nil, &page)
		switch {
		case follow && ctx.Err() != nil:
			return nil // told to stop
		case follow && err != nil && exitCode(err) == 3:
			// The node is being started again, say; nothing is missed by that.
			fmt.Fprintln(a.errOut, "eblnode: "+plain(err.Error())+"; trying again")
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(2 * time.Second):
			}
			continue
		case err != nil:
			return err
		}
		if err := a.printEvents(page.Events); err != nil {
			return err
		}
		cursor = page.NextCursor
		if !follow && len(page.Events) < pageOfEvents {
			if a.json {
				return json.NewEncoder(a.out).Encode(map[string]string{"nextCursor": cursor})
			}
			return nil
		}
	}
}

func (a *app) printEvents(list []api.EventView) error {
	for i := range list {
		e := &list[i]
		var err error
		if a.json {
			err = json.NewEncoder(a.out).Encode(e)
		} else {
			err = eventLine(a.out, e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// eventLine is one event for people: when, what, which bill, where it stands, and the
// transfer.
func eventLine(w io.Writer, e *api.EventView) error {
	var d struct {
		Document  string `json:"documentHash"`
		Control   string `json:"control"`
		Possessor string `json:"possessor"`
		Transfer  *struct {
			ID   string `json:"id"`
			Peer string `json:"peer"`
		} `json:"transfer"`
		Peer     string `json:"peer"`
		Response string `json:"responseCode"`
	}
	if err := json.Unmarshal(e.Data, &d); err != nil {
		return errors.Join(unsure("an event that cannot be read"), err)
	}
	at, err := e.At.MarshalText()
	if err != nil {
		return err
	}
	parts := []string{string(at), plain(e.Type), d.Document, d.Control, plain(d.Possessor)}
	if d.Peer != "" {
		parts = append(parts, "by "+plain(d.Peer))
	}
	if d.Transfer != nil {
		parts = append(parts, "transfer "+d.Transfer.ID+" to "+plain(d.Transfer.Peer))
	}
	if d.Response != "" {
		parts = append(parts, plain(d.Response))
	}
	_, err = fmt.Fprintln(w, strings.Join(parts, "  "))
	return err
}
