package node

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
)

// maxStatements bounds the statements that a connection keeps compiled; the program has
// fewer, so the bound is against a query that is put together anew each time.
const maxStatements = 512

// A writeConn is the one connection that writes, with its compiled statements: to compile
// one takes longer than to run it.
//
// It takes no context's end: a statement that is interrupted inside a transaction can take
// all of the transaction with it, and so the work of others in the same group.
type writeConn struct {
	conn *sql.Conn
	m    map[string]*sql.Stmt
}

// openWriter takes the connection of db, which has no other.
func openWriter(ctx context.Context, db *sql.DB) (*writeConn, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	w := &writeConn{conn: conn, m: map[string]*sql.Stmt{}}
	// A longer log is copied into the database less often, and a page that many
	// transactions write once for all of them. The cache holds the upper pages of the
	// indexes of some million bills. What a savepoint may have to take back is kept in
	// memory: in a file, where it goes beyond 64 KiB, it is written page by page, and half
	// of what a small transfer writes would be that.
	for _, pragma := range []string{"PRAGMA wal_autocheckpoint = 4000", "PRAGMA cache_size = -16384", "PRAGMA temp_store = MEMORY"} {
		if _, err := conn.ExecContext(ctx, pragma); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", pragma, err), conn.Close())
		}
	}
	return w, nil
}

// forget lets all statements go, which must be done while the connection lives.
func (w *writeConn) forget() {
	for _, s := range w.m {
		_ = s.Close()
	}
	clear(w.m)
}

func (w *writeConn) close() error {
	w.forget()
	return w.conn.Close()
}

// statement is nil where the query cannot be compiled: whoever runs it is told why.
func (w *writeConn) statement(query string) *sql.Stmt {
	if s := w.m[query]; s != nil {
		return s
	}
	s, err := w.conn.PrepareContext(context.Background(), query)
	if err != nil {
		return nil
	}
	if len(w.m) >= maxStatements {
		w.forget()
	}
	w.m[query] = s
	return s
}

// ExecContext runs a statement.
func (w *writeConn) ExecContext(_ context.Context, query string, args ...any) (sql.Result, error) {
	if s := w.statement(query); s != nil {
		return s.ExecContext(context.Background(), args...)
	}
	return w.conn.ExecContext(context.Background(), query, args...)
}

// QueryRowContext reads one row. Scan it before the next statement.
func (w *writeConn) QueryRowContext(_ context.Context, query string, args ...any) *sql.Row {
	if s := w.statement(query); s != nil {
		return s.QueryRowContext(context.Background(), args...)
	}
	return w.conn.QueryRowContext(context.Background(), query, args...)
}

// QueryContext reads rows. The statement is not kept: while its rows are read the same
// query may be asked again, and a compiled one would begin anew under the first.
func (w *writeConn) QueryContext(_ context.Context, query string, args ...any) (*sql.Rows, error) {
	return w.conn.QueryContext(context.Background(), query, args...)
}

// A readPool is the read side with its compiled statements, one of each on every
// connection that ran it.
type readPool struct {
	*sql.DB

	mu sync.RWMutex
	m  map[string]*sql.Stmt
}

func (p *readPool) statement(query string) *sql.Stmt {
	p.mu.RLock()
	s := p.m[query]
	p.mu.RUnlock()
	if s != nil {
		return s
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.m[query]; s != nil {
		return s
	}
	if len(p.m) >= maxStatements {
		return nil
	}
	s, err := p.PrepareContext(context.Background(), query)
	if err != nil {
		return nil
	}
	if p.m == nil {
		p.m = map[string]*sql.Stmt{}
	}
	p.m[query] = s
	return s
}

// QueryRowContext reads one row.
func (p *readPool) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	if s := p.statement(query); s != nil {
		return s.QueryRowContext(ctx, args...)
	}
	return p.DB.QueryRowContext(ctx, query, args...)
}

// QueryContext reads rows.
func (p *readPool) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if s := p.statement(query); s != nil {
		return s.QueryContext(ctx, args...)
	}
	return p.DB.QueryContext(ctx, query, args...)
}
