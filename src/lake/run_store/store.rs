//! [`ObjectStore`] for [`RunStore`]: answers requests from memory if possible, and forwards all others to the store.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

use super::{HINT, MAX_CACHED_FILE_BYTES, MAX_HELD_BACK_BYTES, RESUME_POINT, RunStore, is_known_absent, lock, parent};
use crate::error::chain;
use crate::lake::entry::version_of;

fn absent(path: &Path) -> object_store::Error {
    let source = "not in the list of the lake's files".into();
    object_store::Error::NotFound { path: path.to_string(), source }
}

/// Returns the result of a get request for a file whose content is in memory.
fn cached_result(meta: ObjectMeta, bytes: &Bytes, options: &GetOptions) -> Result<GetResult> {
    let size = bytes.len() as u64;
    let range = match &options.range {
        _ if options.head => 0..0,
        None => 0..size,
        Some(range) => resolve_range(range, size).ok_or_else(|| object_store::Error::Generic {
            store: "RunStore",
            source: format!("the range {range:?} is outside the file, which has {size} bytes").into(),
        })?,
    };
    let part = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
    let content = bytes.slice(part(range.start)..part(range.end));
    let payload = GetResultPayload::Stream(futures::stream::once(async move { Ok(content) }).boxed());
    Ok(GetResult { payload, meta, range, attributes: Default::default() })
}

fn resolve_range(range: &GetRange, size: u64) -> Option<Range<u64>> {
    let range = match range {
        GetRange::Bounded(range) => range.start..range.end.min(size),
        GetRange::Offset(from) => *from..size,
        GetRange::Suffix(last) => size.saturating_sub(*last)..size,
    };
    (range.start <= range.end && range.start <= size).then_some(range)
}

#[async_trait]
impl ObjectStore for RunStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let bytes = Bytes::from(payload.clone());
        let is_parquet = location.filename().is_some_and(|name| name.ends_with(".parquet"));
        if self.is_staged(location) && is_parquet && opts.mode == PutMode::Overwrite {
            let mut state = self.state();
            if bytes.len() as u64 <= MAX_CACHED_FILE_BYTES && state.held_back_bytes + bytes.len() <= MAX_HELD_BACK_BYTES
            {
                state.held_back_bytes += bytes.len();
                if let Some(before) = state.held_back.insert(location.clone(), bytes.clone()) {
                    state.held_back_bytes -= before.len();
                }
                drop(state);
                self.note(location, bytes.len() as u64);
                return Ok(PutResult { e_tag: None, version: None });
            }
        }
        // A later run may resume from the files that a resume point names, so they must be in the store first.
        if location.filename() == Some(RESUME_POINT)
            && self.is_staged(location)
            && let Some(part) = parent(location)
        {
            self.send_under(&part).await?;
        }
        let put = self.inner.put_opts(location, payload, opts).await;
        match &put {
            Ok(_) => {
                self.note(location, bytes.len() as u64);
                let meta = self.state().listed.get(location).cloned();
                if let Some(meta) =
                    meta.filter(|_| self.is_final(location) && bytes.len() as u64 <= MAX_CACHED_FILE_BYTES)
                {
                    self.cache(meta, &bytes);
                }
            }
            // Another run has committed first. From now on this run must see what it wrote.
            Err(error @ (object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. })) => {
                let is_entry = self.in_table(location).is_some_and(|path| version_of(&path).is_some());
                // S3 also returns this while another request for the same key is in progress, with no result yet.
                let is_busy = chain(error).contains("ConditionalRequestConflict");
                if let Some(table) = self.table_of(location).filter(|_| is_entry && !is_busy) {
                    self.refresh(&table, true).await?;
                }
            }
            Err(_) => {}
        }
        put
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.inner.put_multipart_opts(location, opts).await?;
        // Its final size is unknown, so it counts as too large to be cached.
        self.note(location, MAX_CACHED_FILE_BYTES + 1);
        Ok(upload)
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        // The pointer to the last checkpoint contains nothing that the list does not show.
        let is_hint = location.filename() == Some(HINT) && location.prefix_matches(&self.lake);
        if is_hint || self.is_known_absent(location) {
            return Err(absent(location));
        }
        let is_plain = options.if_match.is_none()
            && options.if_none_match.is_none()
            && options.if_modified_since.is_none()
            && options.if_unmodified_since.is_none()
            && options.version.is_none();
        if is_plain {
            if options.head {
                let listed = self.state().listed.get(location).cloned();
                match listed.filter(|_| self.is_final(location)) {
                    Some(meta) => return cached_result(meta, &Bytes::new(), &options),
                    // A run checks whether a table has a log before it writes. If another run creates the table
                    // meanwhile, the store refuses this run's first commit.
                    None if self.is_final(location) => return Err(absent(location)),
                    None => {}
                }
            } else if let Some((meta, bytes)) = self.fetch(location).await? {
                return cached_result(meta, &bytes, &options);
            }
        }
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (state, inner, lake) = (Arc::clone(&self.state), Arc::clone(&self.inner), self.lake.clone());
        let deleted = async_stream::stream! {
            let (mut locations, mut sent) = (locations, Vec::new());
            while let Some(location) = locations.next().await {
                match location {
                    // It was never uploaded.
                    Ok(path) if lock(&state).held_back.contains_key(&path) => {
                        lock(&state).forget(&path);
                        yield Ok(path);
                    }
                    Ok(path) if is_known_absent(&lock(&state), &lake, &path) => yield Ok(path),
                    other => sent.push(other),
                }
            }
            if sent.is_empty() {
                return;
            }
            let mut deleted = inner.delete_stream(futures::stream::iter(sent).boxed());
            while let Some(outcome) = deleted.next().await {
                if let Ok(path) = &outcome {
                    lock(&state).forget(path);
                }
                yield outcome;
            }
        };
        deleted.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.listed_under(prefix) {
            Some(listed) => futures::stream::iter(listed.into_iter().map(Ok)).boxed(),
            None => self.inner.list(prefix),
        }
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.listed_under(prefix) {
            Some(listed) => {
                let offset = offset.clone();
                let after = listed.into_iter().filter(move |object| object.location > offset);
                futures::stream::iter(after.map(Ok).collect::<Vec<_>>()).boxed()
            }
            None => self.inner.list_with_offset(prefix, offset),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let (Some(listed), Some(prefix)) = (self.listed_under(prefix), prefix) else {
            return self.inner.list_with_delimiter(prefix).await;
        };
        let depth = prefix.parts_count() + 1;
        let (objects, deeper): (Vec<_>, Vec<_>) =
            listed.into_iter().partition(|object| object.location.parts_count() == depth);
        let mut common_prefixes: Vec<Path> =
            deeper.iter().map(|object| object.location.parts().take(depth).collect::<Path>()).collect();
        common_prefixes.dedup();
        Ok(ListResult { common_prefixes, objects })
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.send(vec![from.clone()]).await?;
        self.inner.copy_opts(from, to, options).await?;
        self.note_copy(from, to);
        Ok(())
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.send(vec![from.clone()]).await?;
        self.inner.rename_opts(from, to, options).await?;
        self.note_copy(from, to);
        self.state().forget(from);
        Ok(())
    }
}
