//! The Iceberg REST catalog: what another engine needs to read and write Wharf's tables, over HTTP.
