// SPDX-License-Identifier: Apache-2.0
//
// What runs here: build, process, storage, configuration, flags.
import { api } from '../../api/client';
import { BuildCard, RuntimeCard } from './InfoCards';
import { ConfigCard } from './ConfigCard';
import { FlagsCard } from './FlagsCard';
import { CardinalityCards, HeadCard } from './StorageCards';
import { useApi } from '../../api/useApi';
import { Notice } from '../../components/Notice';
import { RefreshButton } from '../../components/RefreshButton';
import classes from '../pages.module.css';

export function StatusPage() {
  const build = useApi(api.buildInfo);
  const runtime = useApi(api.runtimeInfo);
  const config = useApi(api.config);
  const flags = useApi(api.flags);
  // Not every server has it; its absence is not an error.
  const tsdb = useApi(api.tsdb);

  const requests = [build, runtime, config, flags, tsdb];
  const failed = [build, runtime, config, flags].find((request) => request.error !== null);
  return (
    <div className={classes.page}>
      <div className={classes.head}>
        <h1>Status</h1>
        <div className={classes.tools}>
          <RefreshButton
            loading={requests.some((request) => request.loading)}
            onClick={() => requests.forEach((request) => request.refresh())}
          />
        </div>
      </div>
      {failed !== undefined && (
        <Notice kind="error" title="The status could not be loaded in full">
          {failed.error?.message}
        </Notice>
      )}
      <div className={classes.columns}>
        {runtime.answer !== null && (
          <RuntimeCard info={runtime.answer.data} now={runtime.loadedAt} />
        )}
        {tsdb.answer !== null && <HeadCard status={tsdb.answer.data} />}
        {build.answer !== null && <BuildCard info={build.answer.data} />}
      </div>
      {tsdb.answer !== null && <CardinalityCards status={tsdb.answer.data} />}
      {config.answer !== null && <ConfigCard yaml={config.answer.data.yaml} />}
      {flags.answer !== null && <FlagsCard flags={flags.answer.data} />}
    </div>
  );
}
