package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"eblnode/api"

	"github.com/spf13/cobra"
)

func (a *app) systemCommand() *cobra.Command {
	s := &cobra.Command{Use: "system", Short: "Systems of customers, which act for local users",
		Long: `A system is a customer's own, an ERP say. It is registered with its public keys and acts
for local users over the local API by bearer tokens that it signs, one for each request.`}
	s.AddCommand(a.systemAdd(), a.systemList(), a.systemDisable())
	return s
}

func (a *app) systemAdd() *cobra.Command {
	var keys string
	var customers []string
	c := &cobra.Command{
		Use: "add NAME --keys FILE --for LOCALID|CUSTOMER=LOCALID", Short: "Register a system, or give it other keys and customers", Args: cobra.ExactArgs(1),
		Long: `Register the system that its tokens call NAME (sub). FILE is a JWK set with its public keys:
compare the fingerprints that are printed with its operator. --for names a local user for
whom it may act, and before = the customer as its tokens say (obo), where that is not the
local id; give it once for each. What was registered under NAME is replaced.

A token is a JWT: sub NAME, aud our domain, obo the customer, uid the person, nbf, iat and
exp at most 60 seconds apart, a jti that is used once; kid names the key.`,
		Example: `  eblnode system add acme-erp --keys erp.jwks --for CUST12345=acme`,
		RunE: func(c *cobra.Command, args []string) error {
			if keys == "" || len(customers) == 0 {
				return usage("--keys and --for are needed")
			}
			text, err := a.readArg(keys)
			if err != nil {
				return err
			}
			if !json.Valid(text) {
				return usage("%s is not JSON", keys)
			}
			list := []api.CustomerView{}
			for _, s := range customers {
				customer, local, found := strings.Cut(s, "=")
				if !found {
					local = customer
				}
				list = append(list, api.CustomerView{Customer: customer, Local: local})
			}
			in := map[string]any{"name": args[0], "keys": json.RawMessage(text), "customers": list}
			return a.withAdmin(c, func(r *remote) error {
				var out api.SystemView
				if err := r.call(c.Context(), http.MethodPost, "/admin/v1/systems", in, &out); err != nil {
					return err
				}
				return a.print(out, func(w io.Writer) {
					fmt.Fprintf(w, "registered %s\n", out.Name)
					for _, k := range out.Keys {
						fmt.Fprintf(w, "key %s, fingerprint %s\n", plain(k.ID), k.Fingerprint)
					}
				})
			})
		},
	}
	c.Flags().StringVar(&keys, "keys", "", "file with its public keys, a JWK set; - reads standard input (needed)")
	c.Flags().StringArrayVar(&customers, "for", nil, "for whom it may act: LOCALID or CUSTOMER=LOCALID (needed, may be repeated)")
	return c
}

func (a *app) systemList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List systems, their keys, and for whom they act", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var out api.SystemList
			return a.shown(c, "/admin/v1/systems", &out, func(w io.Writer) {
				table(w, "SYSTEM\tSTATE\tFOR\tKEYS", func(t io.Writer) {
					for _, s := range out.Systems {
						state := "active"
						if s.Disabled {
							state = "disabled"
						}
						var who, keys []string
						for _, c := range s.Customers {
							who = append(who, plain(c.Customer)+"="+c.Local)
						}
						for _, k := range s.Keys {
							keys = append(keys, plain(k.ID))
						}
						fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", s.Name, state, strings.Join(who, " "), strings.Join(keys, " "))
					}
				})
			})
		},
	}
}

func (a *app) systemDisable() *cobra.Command {
	return &cobra.Command{
		Use: "disable NAME", Short: "Stop a system's tokens", Args: cobra.ExactArgs(1),
		Long: `Stop a system's tokens at once. Add it again to enable it.`,
		RunE: func(c *cobra.Command, args []string) error {
			return a.withAdmin(c, func(r *remote) error {
				if err := r.call(c.Context(), http.MethodPost, "/admin/v1/systems/"+url.PathEscape(args[0])+"/disable", nil, nil); err != nil {
					return err
				}
				return a.print(map[string]string{"disabled": args[0]}, func(w io.Writer) { fmt.Fprintln(w, "disabled "+plain(args[0])) })
			})
		},
	}
}
