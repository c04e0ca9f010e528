//! Catalogs of what Wharf does not have: clients ask for them, and find no rows.

use wharf_catalog::SqlType;

use super::rows::Rows;

use SqlType::{Boolean as B, Integer as I, Name as N, Oid as O, QChar as C, SmallInt as S, Text as T};

/// A table of this chapter.
pub(super) fn table(name: &str) -> Option<Rows> {
    let columns: &[(&'static str, SqlType)] = match name {
        "pg_index" => &[
            ("indexrelid", O),
            ("indrelid", O),
            ("indnatts", S),
            ("indnkeyatts", S),
            ("indisunique", B),
            ("indisprimary", B),
            ("indisexclusion", B),
            ("indimmediate", B),
            ("indisclustered", B),
            ("indisvalid", B),
            ("indisready", B),
            ("indislive", B),
            ("indisreplident", B),
            ("indkey", T),
            ("indoption", T),
            ("indexprs", T),
            ("indpred", T),
        ],
        "pg_constraint" => &[
            ("oid", O),
            ("conname", N),
            ("connamespace", O),
            ("contype", C),
            ("condeferrable", B),
            ("condeferred", B),
            ("convalidated", B),
            ("conrelid", O),
            ("contypid", O),
            ("conindid", O),
            ("conparentid", O),
            ("confrelid", O),
            ("confupdtype", C),
            ("confdeltype", C),
            ("confmatchtype", C),
            ("conislocal", B),
            ("conbin", T),
        ],
        "pg_proc" => &[
            ("oid", O),
            ("proname", N),
            ("pronamespace", O),
            ("proowner", O),
            ("prokind", C),
            ("proretset", B),
            ("prorettype", O),
            ("pronargs", S),
            ("provolatile", C),
            ("proisstrict", B),
            ("prosrc", T),
        ],
        "pg_inherits" => &[("inhrelid", O), ("inhparent", O), ("inhseqno", I), ("inhdetachpending", B)],
        "pg_enum" => &[("oid", O), ("enumtypid", O), ("enumlabel", N)],
        "pg_range" => &[("rngtypid", O), ("rngsubtype", O), ("rngmultitypid", O)],
        "pg_extension" => &[("oid", O), ("extname", N), ("extnamespace", O), ("extversion", T)],
        "pg_matviews" => &[("schemaname", N), ("matviewname", N), ("matviewowner", N), ("definition", T)],
        "pg_indexes" => &[("schemaname", N), ("tablename", N), ("indexname", N), ("indexdef", T)],
        "pg_policy" => &[
            ("oid", O),
            ("polname", N),
            ("polrelid", O),
            ("polcmd", C),
            ("polpermissive", B),
            ("polqual", T),
            ("polwithcheck", T),
        ],
        "pg_statistic_ext" => {
            &[("oid", O), ("stxrelid", O), ("stxname", N), ("stxnamespace", O), ("stxowner", O), ("stxstattarget", I)]
        }
        "pg_publication" => &[("oid", O), ("pubname", N), ("puballtables", B)],
        "pg_publication_rel" => &[("oid", O), ("prpubid", O), ("prrelid", O), ("prqual", T)],
        "pg_publication_namespace" => &[("oid", O), ("pnpubid", O), ("pnnspid", O)],
        "pg_foreign_table" => &[("ftrelid", O), ("ftserver", O)],
        "pg_foreign_server" => &[("oid", O), ("srvname", N)],
        "pg_partitioned_table" => &[("partrelid", O), ("partstrat", C)],
        "pg_trigger" => {
            &[("oid", O), ("tgrelid", O), ("tgname", N), ("tgenabled", C), ("tgisinternal", B), ("tgconstraint", O)]
        }
        "pg_rewrite" => &[("oid", O), ("rulename", N), ("ev_class", O), ("ev_type", C), ("ev_enabled", C)],
        "pg_depend" => &[
            ("classid", O),
            ("objid", O),
            ("objsubid", I),
            ("refclassid", O),
            ("refobjid", O),
            ("refobjsubid", I),
            ("deptype", C),
        ],
        "pg_locks" => &[("locktype", T), ("database", O), ("relation", O), ("pid", I), ("mode", T), ("granted", B)],
        "pg_shdescription" => &[("objoid", O), ("classoid", O), ("description", T)],
        "pg_sequence" => &[("seqrelid", O)],
        "pg_sequences" => &[("schemaname", N), ("sequencename", N)],
        "pg_auth_members" => &[("roleid", O), ("member", O), ("grantor", O), ("admin_option", B)],
        "pg_language" => &[("oid", O), ("lanname", N)],
        "pg_cast" => &[("oid", O), ("castsource", O), ("casttarget", O)],
        "pg_event_trigger" => &[("oid", O), ("evtname", N)],
        "pg_subscription" => &[("oid", O), ("subname", N)],
        _ => return None,
    };
    Some(Rows::new(columns))
}
