// SPDX-License-Identifier: Apache-2.0
//
// The configuration in force.
import { Card } from '../../components/Card';
import { CopyText } from '../../components/CopyText';
import classes from '../pages.module.css';

export function ConfigCard({ yaml }: { yaml: string }) {
  return (
    <Card title="Configuration" aside={<CopyText value={yaml} what="YAML" />}>
      <pre className={classes.yaml} tabIndex={0} role="region" aria-label="Configuration as YAML">
        {yaml}
      </pre>
    </Card>
  );
}
