package api_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"eblnode/api"
	"eblnode/internal/ebltest"
	"eblnode/internal/webhook"
	"eblnode/node"
)

// askWebhooks asks everything of webhooks once, with and without success.
func askWebhooks(t *testing.T) {
	t.Helper()
	a := newAdmin(t, ebltest.New(t).Platform("hooks.example", ebltest.Configure(func(c *node.Config) {
		c.Deliver = webhook.NewSender(webhook.Config{}).Send
	})))
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer receiver.Close()
	c := a.ask("POST", "/admin/v1/webhooks", `{"url":`+jsonString(receiver.URL)+`,"events":["bill.received"]}`).want(t, 201, 0)
	added := decode[api.NewWebhookView](t, c)
	if !strings.HasPrefix(added.Secret, "whsec_") || added.Webhook.State != "active" {
		t.Errorf("adding a webhook: got %s, want it active, with a secret", c.answer)
	}
	for _, body := range []string{`{}`, `{"url":"http://back-end.example/"}`, `{"url":"https://user:hunter2@back-end.example/"}`,
		`{"url":"https://back-end.example/","events":["bill.sold"]}`, `{"url":"https://back-end.example/","secret":"whsec_c2hvcnQ="}`} {
		if c := a.ask("POST", "/admin/v1/webhooks", body).want(t, 400, 7001); bytes.Contains(c.answer, []byte("hunter2")) || bytes.Contains(c.answer, []byte("c2hvcnQ")) {
			t.Errorf("the refusal quotes a secret: %s", c.answer)
		}
	}
	path := "/admin/v1/webhooks/" + added.Webhook.ID
	if v := decode[api.WebhookTestView](t, a.ask("POST", path+"/test", "").want(t, 200, 0)); !v.Delivered || v.Answer != "200 OK" {
		t.Errorf("testing a webhook: got %+v, want it delivered", v)
	}
	a.ask("POST", path+"/replay", `{}`).want(t, 200, 0)
	a.ask("POST", path+"/replay", `{"from":"0"}`).want(t, 200, 0)
	a.ask("POST", path+"/replay", `{"from":"1"}`).want(t, 400, 7001)
	a.ask("POST", path+"/replay", `{"from":"1-00000000"}`).want(t, 409, 8004)
	if c := a.ask("GET", "/admin/v1/webhooks", "").want(t, 200, 0); bytes.Contains(c.answer, []byte("whsec")) {
		t.Errorf("the list shows the secret: %s", c.answer)
	}
	none := "/admin/v1/webhooks/none"
	a.ask("POST", none+"/test", "").want(t, 404, 7104)
	a.ask("POST", none+"/replay", `{}`).want(t, 404, 7104)
	a.ask("DELETE", none, "").want(t, 404, 7104)
	a.ask("DELETE", path, "").want(t, 200, 0)
}
