package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"eblnode/api"

	"github.com/spf13/cobra"
)

func (a *app) webhookCommand() *cobra.Command {
	c := &cobra.Command{Use: "webhook", Short: "Back ends that are told of events over HTTP",
		Long: `A webhook tells a back end of every event on this node by POST, signed in the scheme of
Standard Webhooks. What its receiver does not take is sent again, with longer and longer
pauses, until it is taken or too old (webhooks.age). Each event comes at least once, those of
one bill in their order; a receiver leaves out a webhook-id that it knows.`}
	c.AddCommand(a.webhookAdd(), a.webhookList(), a.webhookRemove(), a.webhookReplay(), a.webhookTest())
	return c
}

func (a *app) webhookAdd() *cobra.Command {
	var secretFile string
	var events []string
	c := &cobra.Command{
		Use: "add URL --secret-file FILE", Short: "Tell a back end of events, from now on", Args: cobra.ExactArgs(1),
		Long: `Tell a back end of events, from now on. URL is https, or http on this machine; addresses
that are not public must be in webhooks.allowNetworks.

FILE holds the secret that the receiver has too: whsec_ and base64. Where there is no such
file a new secret is made and written to it, for you alone to read; hand it to the receiver.
The node keeps its copy in its database and shows it never again. To change a secret, add
the URL once more with the new one, and remove the old webhook when the receiver knows both.`,
		Example: `  eblnode webhook add https://back-end.example/events --events bill.received,transfer.accepted --secret-file back-end.secret`,
		RunE: func(c *cobra.Command, args []string) error {
			if secretFile == "" {
				return usage("--secret-file is needed: the secret that the receiver has, or where to write a new one")
			}
			secret, fresh, err := a.readSecret(secretFile)
			if err != nil {
				return err
			}
			in := map[string]any{"url": args[0], "events": events, "secret": secret}
			if events == nil {
				in["events"] = []string{}
			}
			return a.withAdmin(c, func(r *remote) error { return a.addWebhook(c, r, in, secretFile, fresh) })
		},
	}
	c.Flags().StringVar(&secretFile, "secret-file", "", "file with the secret, or a new file for one (needed; - reads standard input)")
	c.Flags().StringSliceVar(&events, "events", nil, "types of events, such as bill.received (default: all)")
	return c
}

// readSecret reads the file of a secret; fresh where there is none, and one is to be made.
func (a *app) readSecret(name string) (secret string, fresh bool, err error) {
	if _, err := os.Lstat(name); name != "-" && errors.Is(err, os.ErrNotExist) {
		return "", true, nil
	}
	text, err := a.readArg(name)
	if err != nil {
		return "", false, err
	}
	secret = strings.TrimSpace(string(text))
	if !strings.HasPrefix(secret, "whsec_") || strings.ContainsFunc(secret, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", false, usage("there is no secret in %s: it is one line, whsec_ and base64", name)
	}
	return secret, false, nil
}

func (a *app) addWebhook(c *cobra.Command, r *remote, in map[string]any, file string, fresh bool) error {
	var out api.NewWebhookView
	if err := r.call(c.Context(), http.MethodPost, "/admin/v1/webhooks", in, &out); err != nil {
		return err
	}
	if fresh {
		if err := writeNew(file, []byte(out.Secret+"\n")); err != nil {
			// A secret that nobody has is of no use to a receiver.
			_ = r.call(c.Context(), http.MethodDelete, "/admin/v1/webhooks/"+url.PathEscape(out.Webhook.ID), nil, nil)
			return fmt.Errorf("writing the new secret: %w; nothing was added", err)
		}
	}
	return a.print(map[string]any{"webhook": out.Webhook, "secretFile": file, "secretMade": fresh}, func(w io.Writer) {
		fmt.Fprintf(w, "added %s\n", out.Webhook.ID)
		if fresh {
			fmt.Fprintf(w, "made its secret: hand %s to the receiver\n", file)
		}
		fmt.Fprintf(w, "next: eblnode webhook test %s\n", out.Webhook.ID)
	})
}

func (a *app) webhookList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List webhooks, and how their receivers are", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var out api.WebhookList
			return a.shown(c, "/admin/v1/webhooks", &out, func(w io.Writer) {
				table(w, "ID\tSTATE\tPENDING\tDELIVERED\tDROPPED\tCURSOR\tLAST ANSWER\tURL", func(t io.Writer) {
					for i := range out.Webhooks {
						h := &out.Webhooks[i]
						state := h.State
						if h.Reason != "" {
							state += ": " + plain(h.Reason)
						}
						fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%s\t%s\t%s\n", h.ID, state, h.Pending, h.Delivered, h.Dropped, h.Cursor, plain(h.LastAnswer), plain(h.URL))
					}
				})
			})
		},
	}
}

func (a *app) webhookRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove ID", Short: "End a webhook", Args: cobra.ExactArgs(1),
		Long: `End a webhook. What its receiver has not taken it will not get.`,
		RunE: func(c *cobra.Command, args []string) error {
			return a.remove(c, "/admin/v1/webhooks/", args[0])
		},
	}
}

func (a *app) webhookReplay() *cobra.Command {
	var from string
	c := &cobra.Command{
		Use: "replay ID", Short: "Send events again, or take up a disabled webhook", Args: cobra.ExactArgs(1),
		Long: `Send every event after a cursor again; --from 0 sends all that there are. Without --from
it goes on where it stopped. A disabled webhook is taken up again by this.`,
		Example: `  eblnode webhook replay 0b1c2d3e4f50 --from 41-6f2d1c0b`,
		RunE: func(c *cobra.Command, args []string) error {
			return a.withAdmin(c, func(r *remote) error {
				var out api.WebhookView
				if err := r.call(c.Context(), http.MethodPost, "/admin/v1/webhooks/"+url.PathEscape(args[0])+"/replay", map[string]string{"from": from}, &out); err != nil {
					return err
				}
				return a.print(out, func(w io.Writer) { fmt.Fprintf(w, "%s is active; %d events to send\n", out.ID, out.Pending) })
			})
		},
	}
	c.Flags().StringVar(&from, "from", "", "the cursor of an event: what came after it is sent (0: everything)")
	return c
}

func (a *app) webhookTest() *cobra.Command {
	return &cobra.Command{
		Use: "test ID", Short: "Send one event of the type webhook.test", Args: cobra.ExactArgs(1),
		Long: `Send one event of the type webhook.test, now and once. Exit code 0 says that the receiver
took it.`,
		RunE: func(c *cobra.Command, args []string) error {
			return a.withAdmin(c, func(r *remote) error {
				var out api.WebhookTestView
				if err := r.call(c.Context(), http.MethodPost, "/admin/v1/webhooks/"+url.PathEscape(args[0])+"/test", nil, &out); err != nil {
					return err
				}
				if !out.Delivered {
					return unsure("the receiver did not take it: %s", plain(out.Answer))
				}
				return a.print(out, func(w io.Writer) { fmt.Fprintln(w, "delivered: "+plain(out.Answer)) })
			})
		},
	}
}
