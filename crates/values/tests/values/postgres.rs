//! A PostgreSQL to compare with.

use std::error::Error;

use tokio::runtime::Runtime;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::golden::Answer;

/// A connection, with a runtime of its own.
pub(crate) struct Server {
    runtime: Runtime,
    client: Client,
}

/// A value as bytes in the binary format, whatever its type.
#[derive(Debug)]
pub(crate) struct Raw(pub(crate) Vec<u8>);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Raw(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

impl ToSql for Raw {
    fn to_sql(&self, _: &Type, out: &mut bytes::BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    tokio_postgres::types::to_sql_checked!();
}

impl Server {
    /// The server `WHARF_TEST_POSTGRES` names; `None` without that variable.
    pub(crate) fn from_environment() -> Option<Server> {
        let config = std::env::var("WHARF_TEST_POSTGRES").ok()?;
        let runtime = Runtime::new().unwrap();
        let client = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
            tokio::spawn(connection);
            client
        });
        let mut server = Server { runtime, client };
        server.reset();
        Some(server)
    }

    /// The settings Wharf's defaults are compared under.
    pub(crate) fn reset(&mut self) {
        self.run(
            "RESET ALL; SET TimeZone = 'UTC'; SET DateStyle = 'ISO, MDY'; SET extra_float_digits = 1; \
             SET client_min_messages = error",
        );
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.run(&format!("SET {name} = '{value}'"));
    }

    pub(crate) fn run(&mut self, sql: &str) {
        self.runtime.block_on(self.client.batch_execute(sql)).unwrap();
    }

    /// Prepares for values of a type: they go through a column, as the values of COPY do.
    pub(crate) fn use_type(&mut self, ty: &str) {
        self.run(&format!("DROP TABLE IF EXISTS pg_temp.c; CREATE TEMP TABLE c (v {ty})"));
    }

    /// What PostgreSQL makes of an input.
    pub(crate) fn answer(&mut self, _ty: &str, input: &str) -> Answer {
        let insert = format!("INSERT INTO pg_temp.c VALUES (E'{}') RETURNING v", escape(input));
        let text = match self.runtime.block_on(self.client.simple_query(&insert)) {
            Ok(messages) => messages
                .into_iter()
                .find_map(|message| match message {
                    SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap().to_owned()),
                    _ => None,
                })
                .unwrap(),
            Err(error) => {
                let error = error.as_db_error().unwrap();
                return Answer::Error {
                    code: error.code().code().to_owned(),
                    message: error.message().to_owned(),
                    detail: error.detail().map(str::to_owned),
                    hint: error.hint().map(str::to_owned),
                    context: error.where_().map(str::to_owned),
                };
            }
        };
        let row = self.runtime.block_on(self.client.query_one(&insert, &[])).unwrap();
        Answer::Value { text, binary: row.get::<_, Raw>(0).0 }
    }

    /// The texts of the items of an array that is sent in binary.
    pub(crate) fn texts(&mut self, item_type: &str, array: Vec<u8>) -> Vec<String> {
        let sql = format!("SELECT CASE WHEN x IS NULL THEN '' ELSE x::text END FROM unnest($1::{item_type}[]) AS x");
        let rows = self.runtime.block_on(self.client.query(&sql, &[&Raw(array)])).unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// What becomes of each input under a cast: its text, or the code and message of the error.
    pub(crate) fn attempts(&mut self, ty: &str, inputs: &[String]) -> Vec<String> {
        self.run(
            "CREATE OR REPLACE FUNCTION pg_temp.attempt(input text, ty text) RETURNS text LANGUAGE plpgsql AS $$ \
             DECLARE result text; BEGIN EXECUTE format('SELECT (%L::%s)::text', input, ty) INTO result; RETURN result; \
             EXCEPTION WHEN OTHERS THEN RETURN '! ' || sqlstate || ' ' || sqlerrm; END $$",
        );
        let rows = self
            .runtime
            .block_on(self.client.query(
                "SELECT pg_temp.attempt(x, $2) FROM unnest($1::text[]) WITH ORDINALITY AS u(x, n) ORDER BY n",
                &[&inputs, &ty],
            ))
            .unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }
}

/// The inside of an `E'..'` literal.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\'', "''")
}
