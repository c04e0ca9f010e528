//! Scans of very many files: small files that stand together are one unit of scanning until they are read.
//!
//! DataFusion wants everything that a scan reads in its plan, and copies it whenever a rule of its optimizer changes the scan: for a
//! hundred thousand files tens of megabytes, each time. What always holds: the files of a bundle are read one after the other, each as
//! it would be by itself; and who has to know every file takes the bundles apart first ([`unbundled`]).

use std::collections::VecDeque;
use std::sync::Arc;
use std::vec;

use datafusion::error::Result;
use datafusion_datasource::PartitionedFile;
use datafusion_datasource::morsel::{MorselPlan, MorselPlanner, Morselizer};
use object_store::ObjectMeta;

use crate::error::LakeError;
use crate::files::LakeFile;

/// How many files are in a bundle at most.
const FILES: usize = 64;
/// How large a bundle is at most: whoever is idle takes the next one, and nobody is to wait for the last of them for long.
const BYTES: u64 = 32 << 20;

/// The files that a unit of scanning stands for.
struct Bundle(Vec<Arc<LakeFile>>);

/// The files as units of scanning, several small ones together.
///
/// # Errors
/// As [`LakeFile::parts`].
pub(super) fn bundled(files: &[Arc<LakeFile>]) -> Result<Vec<PartitionedFile>, LakeError> {
    let mut parts = Vec::with_capacity(files.len().div_ceil(FILES));
    let mut rest = files;
    while let Some(first) = rest.first() {
        let (bundle, others) = rest.split_at(fitting(rest.iter().map(|file| file.entry.file_size_in_bytes())));
        rest = others;
        if bundle.len() <= 1 {
            parts.extend(first.parts(usize::MAX)?.1);
            continue;
        }
        let size = bundle.iter().map(|file| file.entry.file_size_in_bytes()).sum();
        let meta = ObjectMeta { size, ..first.whole()?.object_meta };
        parts.push(PartitionedFile::new_from_meta(meta).with_extension(Bundle(bundle.to_vec())));
    }
    Ok(parts)
}

/// How many files of these sizes go into a bundle, the first in any case.
fn fitting(sizes: impl Iterator<Item = u64>) -> usize {
    let mut bytes = 0_u64;
    let fits = sizes.take(FILES).enumerate().take_while(|(at, size)| {
        bytes = bytes.saturating_add(*size);
        *at == 0 || bytes <= BYTES
    });
    fits.count()
}

/// Whether it stands for several files.
pub(super) fn is_bundle(file: &PartitionedFile) -> bool {
    file.extension::<Bundle>().is_some()
}

/// The same units of scanning, but each of one file.
///
/// # Errors
/// As [`LakeFile::parts`].
pub(super) fn unbundled<'a>(
    files: impl IntoIterator<Item = &'a PartitionedFile>,
) -> Result<Vec<PartitionedFile>, LakeError> {
    let mut parts = Vec::new();
    for file in files {
        match file.extension::<Bundle>() {
            Some(bundle) => {
                for file in &bundle.0 {
                    parts.extend(file.parts(usize::MAX)?.1);
                }
            }
            None => parts.push(file.clone()),
        }
    }
    Ok(parts)
}

/// Plans a bundle: the next file when nothing is left to be planned of those before.
#[derive(Debug)]
pub(super) struct BundlePlanner {
    /// Plans the files.
    morselizer: Arc<dyn Morselizer>,
    parts: vec::IntoIter<PartitionedFile>,
    begun: VecDeque<Box<dyn MorselPlanner>>,
}

impl BundlePlanner {
    /// Of a bundle, with what plans its files.
    ///
    /// # Errors
    /// As [`unbundled`].
    pub(super) fn new(bundle: &PartitionedFile, morselizer: Arc<dyn Morselizer>) -> Result<BundlePlanner, LakeError> {
        Ok(BundlePlanner { morselizer, parts: unbundled([bundle])?.into_iter(), begun: VecDeque::new() })
    }
}

impl MorselPlanner for BundlePlanner {
    fn plan(mut self: Box<Self>) -> Result<Option<MorselPlan>> {
        let planner = match self.begun.pop_front() {
            Some(planner) => planner,
            None => match self.parts.next() {
                Some(part) => self.morselizer.plan_file(part)?,
                None => return Ok(None),
            },
        };
        let mut plan = planner.plan()?.unwrap_or_default();
        self.begun.extend(plan.take_ready_planners());
        let plan = match plan.take_pending_planner() {
            Some(pending) => plan.with_pending_planner(async move {
                let planner = pending.await?;
                self.begun.push_back(planner);
                Ok(self as Box<dyn MorselPlanner>)
            }),
            None => plan.with_planners(vec![self as Box<dyn MorselPlanner>]),
        };
        Ok(Some(plan))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Mutex;

    use super::*;
    use crate::files::tests::unread_files;

    #[test]
    fn a_bundle_has_few_files_and_few_bytes() {
        let fitting = |sizes: &[u64]| super::fitting(sizes.iter().copied());
        assert_eq!(fitting(&[]), 0);
        assert_eq!(fitting(&[1; 1000]), FILES);
        assert_eq!(fitting(&[BYTES + 1, 1]), 1);
        assert_eq!(fitting(&[BYTES / 2, BYTES / 2, 1]), 2);
        assert_eq!(fitting(&[1, u64::MAX, 1]), 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn bundles_stand_for_every_file_once() {
        let files = unread_files(200).await;
        let bundles = bundled(&files).unwrap();
        assert_eq!(bundles.len(), 4);
        assert!(bundles.iter().all(is_bundle));
        assert_eq!(bundles.iter().map(PartitionedFile::effective_size).sum::<u64>(), 200 * 100_000);
        let each = files.iter().flat_map(|file| file.parts(usize::MAX).unwrap().1);
        let each: Vec<_> = each.map(|part| part.object_meta).collect();
        let found = unbundled(&bundles).unwrap();
        assert!(!found.iter().any(is_bundle));
        assert_eq!(found.into_iter().map(|part| part.object_meta).collect::<Vec<_>>(), each);
    }

    /// Plans files in three steps, with a wait after the first, and notes them.
    #[derive(Clone, Debug, Default)]
    struct Steps {
        done: Arc<Mutex<Vec<(String, usize)>>>,
    }

    #[derive(Debug)]
    struct Step {
        of: Steps,
        path: String,
        number: usize,
    }

    impl Morselizer for Steps {
        fn plan_file(&self, file: PartitionedFile) -> Result<Box<dyn MorselPlanner>> {
            Ok(Box::new(Step { of: self.clone(), path: file.path().to_string(), number: 0 }))
        }
    }

    impl MorselPlanner for Step {
        fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
            let Step { of, path, number } = *self;
            of.done.lock().unwrap().push((path.clone(), number));
            let next: Box<dyn MorselPlanner> = Box::new(Step { of, path, number: number + 1 });
            Ok(match number {
                0 => Some(MorselPlan::new().with_pending_planner(async move { Ok(next) })),
                1 => Some(MorselPlan::new().with_planners(vec![next])),
                _ => None,
            })
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn files_of_a_bundle_are_read_one_after_the_other() {
        let files = unread_files(20).await;
        let bundles = bundled(&files).unwrap();
        let steps = Steps::default();
        let planner: Box<dyn MorselPlanner> =
            Box::new(BundlePlanner::new(&bundles[0], Arc::new(steps.clone())).unwrap());
        let mut ready = VecDeque::from([planner]);
        while let Some(planner) = ready.pop_front() {
            let Some(mut plan) = planner.plan().unwrap() else { continue };
            ready.extend(plan.take_ready_planners());
            if let Some(pending) = plan.take_pending_planner() {
                ready.push_back(pending.await.unwrap());
            }
        }
        let paths = unbundled(&bundles).unwrap().into_iter().map(|part| part.path().to_string());
        let expected: Vec<_> = paths.flat_map(|path| (0..3_usize).map(move |number| (path.clone(), number))).collect();
        assert_eq!(*steps.done.lock().unwrap(), expected);
    }
}
